"""HTTP: requests, views, uploads, responses, the resource, and our own server around it."""
