"""Credentials of a stack: where they are, who reads them, and how each gets another value."""
