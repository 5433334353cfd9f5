"""Keys of the model gateway: who has one, what it may spend, and its end."""
