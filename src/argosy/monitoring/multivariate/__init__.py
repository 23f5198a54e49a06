"""Shifts that no column shows by itself: several detectors, each with its effect, its evidence and its explanation."""
