"""The headers by which the gateway marks a request for the replica that answers it. It removes those of clients."""

RECORD = "x-argosy-record"
"""The replica records the answer for a comparison. Set by the gateway alone."""

RATE = "x-argosy-rate"
"""Messages a second, ";" and a burst: what the key (`KEY`) may send in streams. Absent: no limit."""

KEY = "x-argosy-key-id"
"""Whose key the request came with."""

SERVER = "x-argosy-server"
"""A call that named no endpoint: it is answered for the server, and not which models there are."""
