"""Who may do what over HTTP: roles and what each may do, tokens, and what comes from a browser."""
