"""Upgrades: what goes with what, what an upgrade does, and the states of releases that it is tried on."""
