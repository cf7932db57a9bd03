"""Released and exported weights: key maps, safetensors, the Hub layout."""
