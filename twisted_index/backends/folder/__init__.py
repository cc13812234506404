"""Folders of wheels and sdists: what is listed, and what is changed."""
