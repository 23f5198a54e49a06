"""Has a column moved away from its reference? Effects with intervals, evidence that may be read every hour.
Pure."""
