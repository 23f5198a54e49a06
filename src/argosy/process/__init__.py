"""Start, watch and end processes, and bound what they may do."""
