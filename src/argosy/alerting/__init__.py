"""Alerts out of the house: what is said, where to, and until it has arrived."""
