"""Scores of edited pictures, as the benchmarks define them."""

from jaxedit.evaluate.scores.registry import SCORES
from jaxedit.evaluate.scores.score import Edit, Score, SetScore
