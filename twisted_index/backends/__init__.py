"""Where packages are: each folder gives an ISource, and an IStore if it can be written."""
