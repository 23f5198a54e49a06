"""Packages of language models: formats of weights, chat templates, golden examples."""
