"""Regions: platforms of their own that one of them gives its declarations."""
