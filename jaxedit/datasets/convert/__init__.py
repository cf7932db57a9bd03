"""Conversion of published data sets to stores, which training reads."""
