"""Has a column moved away from its reference? Effects with intervals, evidence that may be looked at every hour.
Pure."""
