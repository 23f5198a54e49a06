"""Holds requests for an endpoint at zero replicas until one is ready."""
