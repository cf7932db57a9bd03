"""Objectives: what a run trains, a module per kind of model."""
