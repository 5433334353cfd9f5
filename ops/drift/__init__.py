"""Drift: what exists and is not what the state says, and what to do about it."""
