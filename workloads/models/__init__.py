"""Models: one declaration, whichever backend serves it."""
