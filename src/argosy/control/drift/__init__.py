"""Looks for drift, one endpoint at a time: what is compared, what is found, what is wrong. Pure but for the rows."""
