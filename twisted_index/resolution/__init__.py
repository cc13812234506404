"""What requirements need, for a Python and a platform: read, resolved, chosen of pages, missing here."""
