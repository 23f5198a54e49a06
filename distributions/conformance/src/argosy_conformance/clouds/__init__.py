"""What each cloud asks of a container, as checks: one module for each contract, named as in `CONTRACTS`."""
