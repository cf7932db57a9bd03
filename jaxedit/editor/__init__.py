"""Loaded models that edit or draw pictures, and the work of the commands that run them."""
