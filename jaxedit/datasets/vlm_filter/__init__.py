"""Pairs that a vision-language model finds to be no good edits."""
