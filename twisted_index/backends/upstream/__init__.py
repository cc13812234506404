"""Other indexes over HTTP: cached, and verified wherever that is possible."""
