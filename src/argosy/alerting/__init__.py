"""Incidents, notifications and the sinks that get them, and triggers."""
