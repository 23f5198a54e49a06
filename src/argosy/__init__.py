"""Argosy: from a trained model file to every place it has to run."""

__version__ = "0.1.0"
