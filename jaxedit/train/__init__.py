"""Training: the command `python -m jaxedit.train`, the loop, and the objectives."""
