"""The conversion of released weights to pretrained directories, and back."""
