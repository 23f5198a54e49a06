"""Fleets of devices as the platform runs them: which device gets which update, and when one is stopped."""
