"""A second server whose folders are kept equal to another's, and which can take its place."""
