"""Tiny data sets in published layouts, with pictures in archives."""

import gzip
import io
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
from fabricate_parquet import encode

A, B, C, D = (encode((x, 0, 255 - x), size=(8, 6)) for x in (0, 80, 160, 240))


def tar(files):
    """Return a plain tar of names and contents."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return data.getvalue()


def write_pieces(folder, name, data, labels):
    """Write a file in pieces, called `name` and a label."""
    folder.mkdir(parents=True, exist_ok=True)
    size = -(-len(data) // len(labels))
    for i, label in enumerate(labels):
        (folder / f"{name}{label}").write_bytes(data[i * size : (i + 1) * size])


def write_gz(folder, name, files, labels=("aa", "ab", "ac")):
    """Write `name.tar.gz.part-aa, ...`."""
    data = gzip.compress(tar(files), mtime=0)
    write_pieces(folder, f"{name}.tar.gz.part-", data, labels)


def write_split(folder, name, files, count=3):
    """Write `name.tar.split.000, ...`."""
    write_pieces(folder, f"{name}.tar.split.", tar(files), [f"{i:03d}" for i in range(count)])


def write_lines(folder, *rows, name="split_0.jsonl"):
    folder.mkdir(parents=True, exist_ok=True)
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    (folder / name).write_text("".join(f"{line}\n" for line in lines))


def write_parquet(directory, stem, *rows):
    """Write rows of ImgEdit: (inputs, outputs, prompt)."""
    (directory / "Parquet").mkdir(parents=True, exist_ok=True)
    inputs, outputs, prompts = zip(*rows, strict=True)
    paths = pa.list_(pa.string())
    table = {
        "input_images": pa.array(inputs, paths),
        "output_images": pa.array(outputs, paths),
        "prompt": pa.array(prompts, pa.string()),
    }
    pq.write_table(pa.table(table), directory / "Parquet" / f"{stem}.parquet")


def read_all(dataset):
    return [row for part in dataset.parts() for row in dataset.read(part)]
