"""A static copy of an index: files and pages that any web server serves."""
