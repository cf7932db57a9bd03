"""PyTorch key maps and configs, one file per network."""
