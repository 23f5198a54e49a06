"""The planner: what to run where, over regions, markets and kinds of GPU, and how near the best it is. Pure."""
