"""Who may do what: users, tokens, rights. Knows nothing of HTTP answers."""
