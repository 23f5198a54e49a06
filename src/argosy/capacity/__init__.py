"""How much capacity an endpoint needs: the autoscaling policy, and who may wait while it has none. Pure."""
