"""The choice of held-out rows, a share that training never sees, by a hash of each row's key.

The choice depends only on the key and the seed. A row therefore stays held out, or in training,
when other rows are added or dropped, in every mixture entry that shows it, and on any number of
hosts.
"""

import hashlib

import numpy as np


def key_of(text: str) -> int:
    """Return a hash of a text, below 2**64."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest())


def hash_keys(keys: np.ndarray, seed: int) -> np.ndarray:
    """Return hashes, u64[n], of keys, u64[n], that depend on the seed.

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
      share: expected share of rows that are held out, above 0 and below 1.
      seed: with another seed, other rows are held out.
    """
    return hash_keys(keys, seed) < np.uint64(int(share * 2**64))
