"""Programs that prove the figures: simulated streams, seeded, one table each."""
