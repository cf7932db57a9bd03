"""Training pairs: the toybox, real sources, transforms and the loader."""
