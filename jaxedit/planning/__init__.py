"""Estimates of memory, arithmetic and communication, before anything runs."""
