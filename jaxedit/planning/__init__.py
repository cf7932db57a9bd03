"""Estimates of memory, arithmetic and communication, before anything runs.

Ours, since no library knows before a run what fits: XLA tells it of one compiled program.
"""
