"""OCI registries: a client of the distribution specification 1.1, its logins, pushes and pulls."""
