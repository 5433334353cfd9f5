"""What runs on the platform: models, and what is computed about them before anything is created."""
