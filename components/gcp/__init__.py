"""The Google Cloud foundation."""
