"""The offline stand-in: a real engine, a real Kubernetes control plane, emulated clouds."""
