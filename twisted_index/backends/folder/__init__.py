"""Folders of wheels and sdists, as a source and as a store."""
