"""The Kubernetes side of the sandbox: a real control plane, simulated nodes, the provider stand-in."""
