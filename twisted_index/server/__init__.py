"""The server process: components built from settings, and the startup banner."""
