"""Machines that others sell: what they offer, what was learned of it, and what is launched there."""
