"""A process: the components out of settings, and the lines at the start."""
