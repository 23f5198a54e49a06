"""Replicas as pods of Kubernetes."""
