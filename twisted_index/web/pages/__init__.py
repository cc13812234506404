"""HTML for people: the layout of all pages, and the content of each."""
