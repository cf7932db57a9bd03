"""Sampling: the choice of bits and tokens, and the decoding loops."""
