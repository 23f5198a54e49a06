"""How much capacity is needed: the autoscaling policy, what it is measured against, and the simulator that measures."""
