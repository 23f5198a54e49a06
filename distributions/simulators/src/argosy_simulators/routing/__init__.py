"""Routing policies for language models, replayed against engines with a cache of their own."""
