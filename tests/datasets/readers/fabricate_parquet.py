"""Tiny data sets in parquet files as the Hub publishes them."""

import io
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def encode(colour, mode="RGB", size=(24, 16), kind="PNG"):
    file = io.BytesIO()
    Image.new(mode, size, colour).save(file, kind)
    return file.getvalue()


RED, GREEN, WHITE = encode((255, 0, 0)), encode((0, 255, 0), kind="JPEG"), encode(255, "L")


def image(data):
    """Return a cell of a Hub image column."""
    return {"bytes": data, "path": None}


def write(path, rows, *, row_group_size=2, pictures=()):
    """Write rows (dicts of the same names) as a shard; `pictures` are the image columns."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {
        name: pa.array([row[name] for row in rows], PICTURE if name in pictures else None)
        for name in rows[0]
    }
    pq.write_table(pa.table(columns), path, row_group_size=row_group_size)
    return path


def pipe_row(
    text="Add a spoon", *, source=RED, target=GREEN, dataset="COCO", image_id="9", ann="1"
):
    return {
        "source_img": image(source),
        "target_img": image(target),
        "Instruction_VLM-LLM": text,
        "Instruction_Class": "add a spoon",
        "Instruction_Ref_Dataset": "",
        "object_location": "top left",
        "target_img_dataset": dataset,
        "img_id": image_id,
        "ann_id": ann,
    }


def pipe_mask(data=WHITE, dataset="COCO", image_id="9", ann="1"):
    return {
        "mask": image(data),
        "target_img_dataset": dataset,
        "img_id": image_id,
        "ann_id": ann,
    }


def write_pipe(directory, shards, masks=()):
    for i, rows in enumerate(shards):
        name = f"data/train-{i:05d}-of-{len(shards):05d}.parquet"
        write(directory / name, rows, pictures=("source_img", "target_img"))
    write(directory / "data/test-00000-of-00001.parquet", [pipe_row("Add the test's")])
    for i, rows in enumerate(masks):
        name = f"PIPE_Masks/data/train-{i:05d}-of-{len(masks):05d}.parquet"
        write(directory.parent / name, rows, pictures=("mask",))


def magicbrush_row(turn, mask):
    return {
        "img_id": "242679",
        "turn_index": turn,
        "source_img": image((RED, GREEN)[turn - 1]),
        "mask_img": image(mask),
        "instruction": f"edit {turn}",
        "target_img": image((GREEN, RED)[turn - 1]),
    }


def omniedit_row(wordings=("Add a hat", "Put a hat on it"), task="addition", score=8.5):
    return {
        "omni_edit_id": "task_obj_add_1",
        "task": task,
        "src_img": image(RED),
        "edited_img": image(GREEN),
        "edited_prompt_list": list(wordings),
        "width": 24,
        "height": 16,
        "sc_score_1": 9,
        "sc_score_2": 8,
        "sc_reasoning": "",
        "pq_score": 9,
        "pq_reasoning": "",
        "o_score": score,
    }


def anyedit_row(kind="color_alter", text="make it red", second=None):
    return {
        "image_id": "1",
        "image_file": image(GREEN),
        "edited_file": image(RED),
        "edit_instruction": text,
        "edit_type": kind,
        "input": "a green thing",
        "output": "a red thing",
        "edited object": "thing",
        "visual_input": second,
    }
