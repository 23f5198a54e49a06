"""The recorder: one process of a home, which keeps what its replicas were asked and answered."""
