"""The same package over any amount of data: files in, files out, each row exactly once."""
