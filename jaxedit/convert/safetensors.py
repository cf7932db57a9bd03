"""Safetensors files of parameters by '/'-path: written whole, read with every fault explained."""

import pathlib
from collections.abc import Iterable, Mapping

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

DTYPES = ("F32", "BF16", "F16")


def write(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write floating-point arrays.

    Raises:
      ValueError: an array holds a value that is not finite.
      OSError: `path` cannot be written.
    """
    require_finite(arrays, path)
    try:
        save_file({name: np.asarray(a, order="C") for name, a in arrays.items()}, path)
        path.chmod(0o644)  # save_file lets only the owner read
    except SafetensorError as error:
        raise OSError(f"{path}: not written: {error}") from error


def read_shapes(path: pathlib.Path) -> dict[str, tuple[int, ...]]:
    """Shape of every array in the file; reads only its header.

    Raises:
      FileNotFoundError: no such file.
      ValueError: the file is cut short, is not safetensors, or holds another type than floats.
    """
    with _open(path) as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118, not a dict
        wrong = sorted(name for name, s in slices.items() if s.get_dtype() not in DTYPES)
        if wrong:
            raise ValueError(f"{path}: expected {', '.join(DTYPES)} in {', '.join(wrong)}")
        return {name: tuple(s.get_shape()) for name, s in slices.items()}


def read(path: pathlib.Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """The arrays `names`, in the file's dtype.

    Raises:
      ValueError: a value is not finite.
    """
    with _open(path) as file:
        arrays = {name: file.get_tensor(name) for name in names}
    require_finite(arrays, path)
    return arrays


def require_finite(arrays: Mapping[str, np.ndarray], where: pathlib.Path) -> None:
    """Raise ValueError naming the arrays in which some value is NaN or infinite."""
    broken = [name for name, array in arrays.items() if not np.isfinite(array).all()]
    if broken:
        raise ValueError(f"{where}: values that are not finite in {', '.join(sorted(broken))}")


def _open(path: pathlib.Path) -> safe_open:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        return safe_open(path, "np")
    except SafetensorError as error:
        raise ValueError(f"{path}: not a complete safetensors file: {error}") from error
