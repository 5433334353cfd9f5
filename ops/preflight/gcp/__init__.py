"""Preflight of a Google Cloud project."""
