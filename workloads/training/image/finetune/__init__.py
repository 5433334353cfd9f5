"""Fine-tuning of causal language models with Transformers and PEFT, on one GPU or on many nodes."""
