"""What a run trains: one objective per kind of model."""
