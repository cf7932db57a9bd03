"""Evaluation: benchmarks, scores and judges of edited pictures."""
