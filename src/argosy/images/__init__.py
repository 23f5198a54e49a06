"""Container images of a model package: layers, configuration and OCI layout, made without a daemon and without root."""
