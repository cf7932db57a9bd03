"""Judges of edits: models that are asked by a rubric, and the toybox's exact checker."""

from jaxedit.evaluate.judges.judge import Failure, Judge, ReplyCache, judge_edits
from jaxedit.evaluate.judges.rubrics import JUDGES, Rubric, successful_edits

__all__ = ["JUDGES", "Failure", "Judge", "ReplyCache", "Rubric", "judge_edits", "successful_edits"]
