"""Devices and fleets: what a device is told, fetches and reports, and how an update goes through a fleet."""
