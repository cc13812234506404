"""What can be set: the settings, how they are written, and where they come from."""
