"""Judging a revision by what it did: counts of two arms, tests that may be watched at every moment, one policy."""
