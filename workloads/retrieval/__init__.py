"""A stack's documents as models that answer from them: ingestion, and the service that answers."""
