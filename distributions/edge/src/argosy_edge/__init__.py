"""The agent of a device: keeps a declared model package running, with or without a network."""

__version__ = "0.1.0"
