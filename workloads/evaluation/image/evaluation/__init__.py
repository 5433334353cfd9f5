"""Evaluate one version of a registered model, and give it an alias if it reaches its thresholds."""
