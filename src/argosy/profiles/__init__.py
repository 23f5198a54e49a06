"""What a model is asked and what it answers, minute by minute, in numbers that merge: counts, moments and sketches."""
