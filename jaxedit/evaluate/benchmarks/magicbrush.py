"""MagicBrush's test set: 535 conversations of up to three edits, 1,053 in all.

    edit_sessions.json  global_descriptions.json
    images/139306/139306-input.png  139306-mask1.png  139306-output1.png ...

Edits lie where its own scripts write them: `139306/139306_1.png` (the first turn),
`139306_inde_2.png` (a later turn from the published source), `139306_iter_2.png` (a later turn from
the edit before).

Source: Zhang et al. 2023; OSU-NLP-Group/MagicBrush.
"""

import pathlib

from jaxedit.config import require
from jaxedit.evaluate.benchmarks import layout
from jaxedit.evaluate.sample import Benchmark, Sample

TURNS = ("all", "final")


def read_magicbrush(directory: pathlib.Path, turns: str = "all") -> Benchmark:
    """Read the test set; see `registry.Reader`.

    Args:
      turns: "all": each turn starts from its published source. "final": the last turns of
        conversations that were edited in a chain; a model cannot edit these samples.
    """
    require(turns in TURNS, f"--option=turns={turns}: expected {' or '.join(TURNS)}")
    names = ("edit_sessions.json", "test/edit_sessions.json")
    sessions = layout.find(directory, names, "the unpacked test set of MagicBrush")
    captions_file = layout.find(
        sessions.parent, ("global_descriptions.json",), "the captions of MagicBrush"
    )
    captions = layout.read_items(captions_file)
    chained = turns == "final"
    samples = []
    for name, session in layout.read_items(sessions).items():
        is_list = isinstance(session, list) and session
        require(is_list, f"{sessions}: item {name}: expected a list of turns")
        folder = sessions.parent / "images" / name
        for turn, item in enumerate(session, start=1):
            if chained and turn < len(session):
                continue
            fields = ("input", "output", "instruction")
            source, target, instruction = layout.texts(sessions, name, item, fields)
            known = captions.get(name, {})
            (caption,) = layout.texts(captions_file, name, known, (target,))
            suffix = "1" if turn == 1 else f"{'iter' if chained else 'inde'}_{turn}"
            samples.append(
                Sample(
                    key=f"{name}/{name}_{suffix}",
                    source=folder / source,
                    instruction=instruction,
                    type=f"turn {turn}",
                    source_prompt=known.get(source, ""),
                    target_prompt=caption,
                    target=folder / target,
                )
            )
    layout.require_pictures([p for sample in samples for p in (sample.source, sample.target)])
    return Benchmark(
        name="magicbrush",
        samples=tuple(samples),
        scores=("l1", "l2", "clip_i", "dino", "clip_t"),
        is_editable=not chained,
    )
