"""Training and evaluation runs: each file has get_config(preset)."""
