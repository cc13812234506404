"""The sources of one index: which source serves a name."""
