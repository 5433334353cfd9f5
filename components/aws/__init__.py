"""The AWS foundation: one module for each piece."""
