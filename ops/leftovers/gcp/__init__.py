"""Leftovers in a project of Google Cloud."""
