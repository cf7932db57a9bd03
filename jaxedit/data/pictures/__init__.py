"""Reading of picture files of any kind as upright RGB."""
