"""Where replicas run. A target is told how many replicas a revision shall have, and keeps it so."""
