"""How good a model still is, before its labels are there: estimates with intervals, or a reason why there is none."""
