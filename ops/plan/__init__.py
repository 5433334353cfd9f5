"""The plan report: what a preview would do, for those who decide about it."""
