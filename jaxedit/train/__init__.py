"""python -m jaxedit.train: losses, optimiser, step and loop."""
