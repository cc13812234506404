"""Requests: which endpoint a URL names, who sends it, and what they may do."""
