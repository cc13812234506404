"""The rules of RFC 9110 that Twisted lacks: negotiation, conditional requests, ranges. Pure."""
