"""Artifacts for people: links to single objects."""
