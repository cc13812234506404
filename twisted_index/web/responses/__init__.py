"""Responses: as values, as cached bytes, and sending them."""
