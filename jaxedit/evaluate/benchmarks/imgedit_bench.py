"""ImgEdit-Bench: 737 edits of nine types, and the UGE suite of 47 edits that are hard to locate.

Benchmark.tar of sysuyy/ImgEdit on the Hub, unpacked; the lists of PKU-YuanGroup/ImgEdit on GitHub
may lie beside its folders, and the list of the UGE suite is only there:

    singleturn/singleturn.json  singleturn/animal/000342021.jpg ...
    basic_edit.json  UGE_edit.json  hard/000029784.jpg ...

Source: Ye et al. 2025, "ImgEdit".
"""

import pathlib

from jaxedit.evaluate.benchmarks import layout
from jaxedit.evaluate.sample import Benchmark, Sample

_PARENTS = ("", "Benchmark/")


def read_imgedit_bench(directory: pathlib.Path) -> Benchmark:
    """Read the basic suite; see `registry.Reader`."""
    lists = ("singleturn/singleturn.json", "singleturn.json", "basic_edit.json")
    samples = _samples(directory, (*lists, "Basic/basic_edit.json"), "singleturn", "edit_type")
    return Benchmark(name="imgedit-bench", samples=samples, scores=(), judge="imgedit")


def read_imgedit_uge(directory: pathlib.Path) -> Benchmark:
    """Read the UGE suite; see `registry.Reader`."""
    lists = ("UGE_edit.json", "UGE/UGE_edit.json", "hard/UGE_edit.json")
    samples = _samples(directory, lists, "hard")
    return Benchmark(name="imgedit-uge", samples=samples, scores=(), judge="imgedit-uge")


def _samples(
    directory: pathlib.Path, lists: tuple[str, ...], pictures: str, *kind: str
) -> tuple[Sample, ...]:
    """Read a list of edits; its pictures lie beside it or in the folder `pictures`."""
    names = tuple(parent + name for parent in _PARENTS for name in lists)
    path = layout.find(directory, names, "a list of edits of ImgEdit-Bench")
    items = {
        key: layout.texts(path, key, item, ("id", "prompt", *kind))
        for key, item in layout.read_items(path).items()
    }
    places = [path.parent, path.parent / "original_images"]
    places += [directory / parent / pictures for parent in _PARENTS]
    first = next(iter(items.values()))[0]
    folder = next((place for place in places if (place / first).is_file()), places[0])
    samples = tuple(
        Sample(key=key, source=folder / name, instruction=prompt, type="".join(types))
        for key, (name, prompt, *types) in items.items()
    )
    layout.require_pictures([sample.source for sample in samples])
    return samples
