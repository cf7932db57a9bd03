"""GEdit-Bench: 606 edits of eleven types, each in English and in Chinese.

Parquet files of stepfun-ai/GEdit-Bench on the Hub. Edits lie where its own scripts expect them:
`fullset/<task_type>/<lang>/<key>.png`.

Source: Liu et al. 2025, "Step1X-Edit".
"""

import pathlib

from jaxedit.config import require
from jaxedit.evaluate.benchmarks.parquet_rows import read_rows
from jaxedit.evaluate.sample import Benchmark, Sample

LANGUAGES = ("en", "cn")
_TEXTS = {
    "key": "key",
    "instruction": "instruction",
    "type": "task_type",
    "lang": "instruction_language",
}


def read_gedit_bench(directory: pathlib.Path, lang: str = "en") -> Benchmark:
    """Read the edits in a language; see `registry.Reader`."""
    require(lang in LANGUAGES, f"--option=lang={lang}: expected {' or '.join(LANGUAGES)}")
    rows = read_rows(directory, "train", texts=_TEXTS, pictures={"source": "input_image"})
    samples = tuple(
        Sample(
            key=f"fullset/{row['type']}/{lang}/{row['key']}",
            source=row["source"],
            instruction=row["instruction"],
            type=row["type"],
        )
        for row in rows
        if row["lang"] == lang
    )
    require(bool(samples), f"{directory}: expected rows with instruction_language {lang}")
    return Benchmark(
        name="gedit-bench", samples=samples, scores=(), judge="viescore", average="types"
    )
