"""Folders that are filled from an index: what to take, and taking it. Knows nothing of HTTP servers."""
