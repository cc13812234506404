"""Other indexes as a source: asking them, keeping what they said, and trusting none of it."""
