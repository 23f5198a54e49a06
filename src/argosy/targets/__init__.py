"""Where replicas run. A target is given the number of replicas of a revision, and maintains it."""
