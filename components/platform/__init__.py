"""The platform: the systems that every workload stands on, one module for each."""
