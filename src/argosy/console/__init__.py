"""The console: web pages of the platform at `/console`, drawn on the server."""
