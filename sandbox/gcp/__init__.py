"""The emulated Google Cloud project."""
