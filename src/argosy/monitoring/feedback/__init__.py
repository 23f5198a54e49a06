"""What turned out to be true: labels by request id, late, repeated or corrected, beside what was predicted."""
