"""The HTTP server: connections, requests, the fast path and the access log."""
