"""Leftovers in an AWS account."""
