"""A folder of wheels and sdists as a complete Python package index, on Twisted."""
