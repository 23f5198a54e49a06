"""Attacks on Argosy as outsiders make them, and the fuzzing of what reads foreign bytes: `make attack`."""
