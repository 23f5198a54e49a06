"""The header by which the gateway marks a request for the replica that answers it."""

RECORD = "x-argosy-record"
"""What tells it to keep its answer for a comparison. Set by the gateway alone."""
