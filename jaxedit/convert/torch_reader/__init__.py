"""PyTorch's weight files, read without PyTorch."""
