"""The vocabulary: what users declare and read, and the errors they meet. Imports nothing of ours."""
