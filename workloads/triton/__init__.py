"""Triton with TensorRT-LLM engines: what a model repository holds, how a new release is taken, who serves it."""
