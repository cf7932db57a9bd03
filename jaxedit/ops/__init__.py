"""Plain functions on arrays: resizing, quantisation, rotary positions, masks. No flax."""
