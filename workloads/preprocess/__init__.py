"""Datasets: what is declared for each, and the code that makes it."""
