"""Models on Vertex AI: dynamic providers, because pulumi-gcp cannot upload or deploy a model."""
