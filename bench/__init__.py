"""Argosy and its peers, side by side: the same models, the same client, one table (`python -m bench --help`)."""
