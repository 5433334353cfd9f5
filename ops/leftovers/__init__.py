"""What is left of a stack after its destroy: found in the account itself, named, and removed where that is safe."""
