"""Answer questions and compute losses where the weights are, for an evaluation that has no server to ask."""
