"""Rows that training never sees: a share of all, fixed by a hash of what a row shows and the seed.

The hash knows neither the order of the rows nor their number: a row stays on its side when others
are added or dropped, in every entry of a mixture that shows it, and on any number of hosts.
"""

import hashlib

import numpy as np


def key_of(text: str) -> int:
    """Return a number below 2**64 that stands for a text."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest())


def hash_keys(keys: np.ndarray, seed: int) -> np.ndarray:
    """Return u64[n] numbers that look random, from u64[n] keys and a seed.

    Source: Steele et al. 2014, the finaliser of SplitMix64.
    """
    x = keys.astype(np.uint64) ^ np.uint64(key_of(f"validation {seed}"))
    with np.errstate(over="ignore"):  # modulo 2**64
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def is_held_out(keys: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Return bool[n]: whether each row belongs to the held-out share.

    Args:
      keys: u64[n], equal for rows that show the same pair.
      share: above 0, below 1; of many rows about so many are held out.
      seed: another one holds other rows out.
    """
    return hash_keys(keys, seed) < np.uint64(int(share * 2**64))
