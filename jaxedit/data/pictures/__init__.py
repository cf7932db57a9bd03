"""Picture files of any kind, read as upright RGB."""
