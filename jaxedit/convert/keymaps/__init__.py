"""PyTorch key maps, one per network."""
