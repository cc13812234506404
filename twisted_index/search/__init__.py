"""The directory of projects: what people find, by name, import name, spelling or summary."""
