import dataclasses
import pickle

import numpy as np
import pytest

from jaxedit.evaluate.sample import Sample
from jaxedit.evaluate.scores import SCORES, Score

FIELDS = {field.name for field in dataclasses.fields(Sample)}


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
def test_needs_are_fields_of_samples(score):
    assert set(score.needs) <= FIELDS and SCORES[score.name] is score
    assert ("background" in score.name or "_edited" in score.name) == ("mask" in score.needs)


def test_scores_travel_to_other_processes():
    copies = pickle.loads(pickle.dumps(SCORES))
    assert [copy.name for copy in copies.values()] == list(SCORES)


def test_scores_without_networks_take_several_edits(make_edit, noise):
    mask = np.zeros((32, 40))
    mask[:9] = 1
    edits = [make_edit(*(noise(32, 40) for _ in range(3)), mask=mask) for _ in range(3)]
    for score in SCORES.values():
        if isinstance(score, Score) and not score.network:
            values = score.compute(edits, None)
            assert len(values) == 3 and all(isinstance(value, float) for value in values)
            one = score.compute(edits[1:2], None)
            np.testing.assert_array_equal(values[1:2], one, err_msg=score.name)
