"""Removal of pairs that a vision-language model judges not to be good edits."""
