"""TLS for listeners: certificates that are renewed on disk, and the transport."""
