import numpy as np

from jaxedit.data.held_out import hash_keys, is_held_out, key_of


def test_the_hash_is_that_of_splitmix():
    """Compare with the first output of Java's SplittableRandom(0), made from its second state."""
    seed = np.uint64(key_of("validation 0"))
    state = np.array([0x9E3779B97F4A7C15], np.uint64) ^ seed
    assert hash_keys(state, 0) == np.uint64(0xE220A8397B1DCDAF)


def test_a_share_is_held_out_and_grows():
    keys = np.arange(100_000)
    held = is_held_out(keys, 0.01, seed=3)
    assert 900 < held.sum() < 1100
    assert (held <= is_held_out(keys, 0.02, seed=3)).all()
    assert (
        held[:500] == is_held_out(keys[:500], 0.01, seed=3)
    ).all()  # other rows have no influence
    assert (held & is_held_out(keys, 0.01, seed=4)).sum() < 50


def test_texts_have_keys_of_their_own():
    assert len({key_of(text) for text in ("", "a", "b", "a\0b", "\ud800")}) == 5
