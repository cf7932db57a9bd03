"""Training pairs: the toybox, stores and lists of pairs, mixtures, transforms and the loader."""
