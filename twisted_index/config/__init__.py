"""The settings, their syntax and their sources."""
