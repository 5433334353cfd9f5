"""Restore procedures: each a command that says what it would do, and does it with ``--yes``."""
