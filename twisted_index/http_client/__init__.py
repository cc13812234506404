"""Requests to other servers, in bounds: connections, bodies, proxies, certificates, credentials."""
