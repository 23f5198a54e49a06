"""The gateway: Envoy, its process, and the snapshots of its configuration. It imports nothing of databases."""
