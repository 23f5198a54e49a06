"""Monitors of what endpoints did: drift, performance, objectives, feedback, and the analysis of rollouts."""
