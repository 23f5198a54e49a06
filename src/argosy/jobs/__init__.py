"""Batch jobs that the platform runs."""
