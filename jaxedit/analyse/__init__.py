"""Looks into trained models: `python -m jaxedit.analyse`."""
