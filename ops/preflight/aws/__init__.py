"""Preflight of an AWS account."""
