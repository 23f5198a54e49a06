"""A revision's way from 0 to 100 % of the traffic, and the analysis that judges it."""
