"""How good the served models are: estimated without labels, as labels say, and both against each other."""
