"""Authentication and authorization: users, tokens, rights. Independent of HTTP responses."""
