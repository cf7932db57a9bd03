"""Scores of edited pictures, as the benchmarks define them."""
