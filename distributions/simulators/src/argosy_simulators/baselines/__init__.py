"""Other people's scaling policies, as they are, to measure ours against. Sources: their code and documentation."""
