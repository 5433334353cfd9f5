"""Evaluation: what a model is asked before it gets an alias of the registry, and who moves the alias."""
