"""The gateway: Envoy, and the snapshots it is given. Knows routes and sockets, nothing of databases or processes."""
