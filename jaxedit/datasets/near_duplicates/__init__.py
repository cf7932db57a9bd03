"""Removal of training rows that show evaluation pictures, whole or their middle square."""
