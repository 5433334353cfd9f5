"""What the pods of a dataset's job run: raw text becomes tokens in Parquet, with a manifest."""
