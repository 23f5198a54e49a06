"""What the platform tells Prometheus: one page for gateway, replicas and controller, with bounded labels."""
