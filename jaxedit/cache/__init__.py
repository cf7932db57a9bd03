"""Files that jaxedit keeps on disk between runs: shown and cleared."""
