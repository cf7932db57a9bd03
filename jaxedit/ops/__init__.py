"""Formulas of the models as plain functions on arrays, without parameters and without flax."""
