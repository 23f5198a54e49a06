"""Engines of language models: servers of other projects, which answer by OpenAI's API themselves."""
