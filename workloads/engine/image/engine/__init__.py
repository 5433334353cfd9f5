"""TensorRT-LLM engines: convert a model's weights, build the engine, try it on the GPU that will serve it."""
