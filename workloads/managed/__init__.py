"""Models on endpoints that a cloud manages: SageMaker and Vertex AI."""
