"""Estimates of memory, operations and communication before a run, and the mesh's shape.

No library is used: XLA reports the memory of a compiled program, but no library says before
compilation what fits.
"""
