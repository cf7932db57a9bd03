import numpy as np

from jaxedit.ops import masks


def test_three_documents_by_hand():
    expected = [
        [1, 1, 0, 0],
        [1, 1, 0, 0],
        [1, 1, 1, 0],
        [1, 1, 1, 1],
    ]
    np.testing.assert_array_equal(masks.block_causal((2, 1, 1)), np.array(expected, bool))


def test_density_at_512_pixels():
    # The source and the ten target scales of the 512 px schedule see 0.61 of the square.
    sizes = (1, 2, 4, 6, 8, 12, 16, 20, 24, 32)
    mask = masks.block_causal((1024, *(n * n for n in sizes)))
    assert mask.shape == (3545, 3545)
    assert round(mask.mean(), 2) == 0.61


def test_empty_document_changes_nothing():
    np.testing.assert_array_equal(masks.block_causal((0, 2)), np.ones((2, 2), bool))


def test_causal_rows_by_hand():
    np.testing.assert_array_equal(masks.causal(1, 3), [[True, True, False], [True, True, True]])
    np.testing.assert_array_equal(masks.causal(0, 5), masks.block_causal((1,) * 5))
