import numpy as np

from jaxedit.evaluate.scores.pair import Pair


def test_a_number_is_computed_once(noise):
    calls = []

    def difference(a, b):
        calls.append((a, b))
        return int(a[0, 0, 0]) - int(b[0, 0, 0])

    a, b = noise(4, 4), noise(4, 4)
    pair = Pair(a, b)
    assert pair.once(difference) == pair.once(difference) == int(a[0, 0, 0]) - int(b[0, 0, 0])
    assert len(calls) == 1 and calls[0][0] is a and calls[0][1] is b


def test_parts_of_an_edit_are_black_elsewhere(make_edit, noise):
    source, edited = noise(4, 6), noise(4, 6)
    mask = np.zeros((4, 6), bool)
    mask[:2, 3:] = True
    edit = make_edit(source, edited, mask=mask)
    assert edit.pair("whole").a is source and edit.pair("whole").b is edited
    background, part = edit.pair("background"), edit.pair("edited")
    np.testing.assert_array_equal(part.a[:2, 3:], source[:2, 3:])
    assert not part.a[2:].any() and not part.b[:, :3].any()
    np.testing.assert_array_equal(background.b + part.b, edited)
    assert edit.pair("edited") is part
