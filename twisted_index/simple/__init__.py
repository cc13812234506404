"""The simple repository API as values: names, model, and the writers and readers of its pages. Pure."""
