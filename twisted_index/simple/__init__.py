"""The simple repository API as values: names, model, and the writers and parsers of its pages. Pure."""
