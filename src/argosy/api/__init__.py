"""The control API: routes, their server, tokens, labels and metrics."""
