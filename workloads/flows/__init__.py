"""Datasets, fine-tunes and releases of a stack, put together."""
