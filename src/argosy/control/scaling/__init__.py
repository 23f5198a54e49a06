"""How many replicas an endpoint has, and its way from zero."""
