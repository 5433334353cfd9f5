"""What runs in the container of a managed endpoint."""
