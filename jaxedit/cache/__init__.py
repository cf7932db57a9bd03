"""What jaxedit keeps on disk between runs."""
