"""Preflight of an existing cluster."""
