"""The upload API: parsing, validating and publishing forms while they arrive."""
