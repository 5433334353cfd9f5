"""The emulated AWS account."""
