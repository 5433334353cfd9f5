"""Programs that run in pods as they stand here; each needs nothing but what its image has."""
