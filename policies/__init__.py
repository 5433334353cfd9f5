"""The policy pack: what no stack may break, judged at every preview and update."""
