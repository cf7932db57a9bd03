"""Pretrained directories, the lookup of their names, and checkpoints of training."""
