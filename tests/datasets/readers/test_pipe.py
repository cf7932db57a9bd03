import pickle

import pytest
from fabricate_parquet import GREEN, RED, encode, pipe_mask, pipe_row, write_pipe

from jaxedit.config import ConfigError
from jaxedit.datasets.readers.pipe import Pipe

DOG, CAT = encode(255, "L", (3, 2)), encode(255, "L", (2, 3))


def read_all(directory):
    dataset = Pipe(directory)
    return [x for part in dataset.parts() for x in dataset.read(part)]


def test_the_object_is_added_and_the_test_split_left_alone(tmp_path):
    write_pipe(tmp_path, [[pipe_row()]])
    (row,) = read_all(tmp_path)
    assert (row.source, row.target, row.instruction) == (RED, GREEN, "Add a spoon")
    assert (row.edit_type, row.edit_type_raw, row.group) == (2, "top left", "COCO/9")
    assert row.mask is None


def test_empty_instructions_fall_back_to_the_class_and_then_the_referring_one(tmp_path):
    by_class = pipe_row("")
    by_reference = {
        **by_class,
        "Instruction_Class": "",
        "Instruction_Ref_Dataset": "add spoon left",
    }
    nothing = {**by_reference, "Instruction_Ref_Dataset": ""}
    write_pipe(tmp_path, [[by_class, by_reference, nothing]])
    first, second, third = read_all(tmp_path)
    assert first.instruction == "add a spoon"
    assert second.instruction == "add spoon left"
    assert third.reason == "empty instruction"


def test_masks_join_on_data_set_picture_and_annotation(tmp_path):
    rows = [
        pipe_row(image_id="1", ann="7"),
        pipe_row(image_id="2", ann="7"),
        pipe_row(image_id="1", ann="7", dataset="LVIS"),
        pipe_row(image_id="3", ann="7"),
    ]
    masks = [
        [pipe_mask(image_id="9", ann=str(i)) for i in range(3)]
        + [pipe_mask(CAT, "COCO", "2", "7")],
        [pipe_mask(RED, "LVIS", "1", "7"), pipe_mask(DOG, "COCO", "1", "7")],
    ]
    write_pipe(tmp_path / "PIPE", [rows], masks)
    assert [x.mask for x in read_all(tmp_path / "PIPE")] == [DOG, CAT, RED, None]


def test_masks_may_lie_inside_and_their_ids_be_numbers(tmp_path):
    masks = [[pipe_mask(DOG, image_id=1, ann=7), pipe_mask(CAT, image_id=12, ann=34)]]
    write_pipe(tmp_path, [[pipe_row(image_id="12", ann="34")]], masks)
    (tmp_path.parent / "PIPE_Masks").rename(tmp_path / "PIPE_Masks")
    (row,) = read_all(tmp_path)
    assert row.mask == CAT


def test_workers_find_masks_too(tmp_path):
    write_pipe(tmp_path / "PIPE", [[pipe_row()]], [[pipe_mask(DOG)]])
    dataset = Pipe(tmp_path / "PIPE")
    (part,) = dataset.parts()
    assert next(pickle.loads(pickle.dumps(dataset)).read(part)).mask == DOG


def test_masks_that_are_not_whole_are_refused(tmp_path):
    write_pipe(tmp_path / "PIPE", [[pipe_row()]], [[pipe_mask(DOG)], [pipe_mask(CAT)]])
    shard = tmp_path / "PIPE_Masks/data/train-00001-of-00002.parquet"
    shard.write_bytes(shard.read_bytes()[:-10])
    with pytest.raises(ConfigError, match="00001-of-00002.*all masks; to convert without masks"):
        Pipe(tmp_path / "PIPE")
    shard.unlink()
    with pytest.raises(ConfigError, match="00001-of-00002.*expected all masks"):
        Pipe(tmp_path / "PIPE")
    (tmp_path / "PIPE_Masks").rename(tmp_path / "elsewhere")
    assert len(read_all(tmp_path / "PIPE")) == 1
