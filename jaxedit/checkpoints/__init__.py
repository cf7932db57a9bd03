"""Pretrained directories, their names, and checkpoints of training."""
