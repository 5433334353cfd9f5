"""From data to a model that serves: one declared flow, rendered for Argo Workflows and for Kubeflow Pipelines."""
