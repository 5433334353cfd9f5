"""Documents become chunks in a vector database, and answers that cite them. This runs in pods."""
