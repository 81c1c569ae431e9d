"""Int8 networks in PyTorch: the ranges of their activations, and what they compute, simulated."""
