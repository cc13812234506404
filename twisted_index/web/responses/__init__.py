"""Responses as values, as cached bytes, and on their way out."""
