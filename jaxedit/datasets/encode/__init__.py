"""Codes of a store's pictures, computed once and read by every training."""
