import io

import numpy as np
import pytest
from fabricate_store import make_record, picture, write_store
from PIL import Image

from jaxedit.config import ConfigError
from jaxedit.data import drop_list
from jaxedit.data.pictures.canny import edge_map
from jaxedit.data.row_variants import VARIANTS, RowVariant, apply_variant
from jaxedit.data.store import Store
from jaxedit.data.stored_codes import Encoding, NoCodes, StoredCodes


def as_is(records, directory, variant="edit", size=16, **kwargs):
    """Write records to a new store, and return its rows."""
    return RowVariant([Store(write_store(directory / "pipe", records, 1))], variant, size, **kwargs)


def test_an_edit_as_it_is(tmp_path):
    row = as_is([make_record(7)], tmp_path)[0]
    assert row.source.shape == row.target.shape == (16, 16, 3) and row.source.dtype == np.uint8
    assert (row.source == (7, 0, 0)).all() and (row.target == (7, 255, 0)).all()
    assert (row.instruction, row.task, row.edit_type) == ("Add a thing 7", "edit", 2)
    assert row.mask.shape == (16, 16) and row.mask.all()  # not known: everything may change


def test_masks_are_cropped_with_the_pictures(tmp_path):
    pixels = np.zeros((16, 24), np.uint8)
    pixels[:8] = 255
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    row = as_is([make_record(1, mask=file.getvalue())], tmp_path)[0]
    assert row.mask[:8].all() and not row.mask[8:].any()


@pytest.mark.parametrize(
    ("text", "removal"),
    [
        ("Add a dog.", "Remove a dog."),
        ("add Two cats at left", "Remove Two cats at left"),
        ("Adding a dog", None),
        ("Put a dog on the sofa", None),
        ("ADD A DOG", None),
        ("", None),
    ],
)
def test_removals_swap_the_pictures_of_additions(text, removal):
    record = make_record(3, instruction=text)
    found = apply_variant(record, "remove")
    if removal is None:
        assert found == record == apply_variant(record, "add")
    else:
        assert (found.instruction, found.edit_type) == (removal, 3)
        assert (found.source, found.target) == (record.target, record.source)


def test_every_pair_is_added_and_removed(tmp_path):
    rows = as_is([make_record(i) for i in range(3)], tmp_path, "add_remove")
    assert [row.instruction for row in (rows[i] for i in range(len(rows)))] == [
        *("Add a thing 0", "Remove a thing 0"),
        *("Add a thing 1", "Remove a thing 1"),
        *("Add a thing 2", "Remove a thing 2"),
    ]
    assert (rows[3].source == (1, 255, 0)).all() and (rows[3].target == (1, 0, 0)).all()


def test_edges_of_the_target(tmp_path):
    target = np.zeros((16, 16, 3), np.uint8)
    target[:, 8:] = 255
    file = io.BytesIO()
    Image.fromarray(target).save(file, "PNG")
    record = make_record(
        0, task="depth", instruction="a wall", source=picture(9, (16, 16)), target=file.getvalue()
    )
    canny = as_is([record], tmp_path / "a", "canny")[0]
    np.testing.assert_array_equal(canny.source, edge_map(target))
    assert canny.source.any() and canny.task == "canny" and canny.mask.all()
    assert canny.instruction == (
        "Given the canny edge image, generate an image following the description: a wall"
    )
    for variant in ("edit", "depth"):
        depth = as_is([record], tmp_path / variant, variant, style="paper")[0]
        assert (depth.source == 9).all() and depth.task == "depth"
        assert depth.instruction == (
            "Given the depth, generate the image following the instruction: a wall"
        )


def test_a_published_edge_map_stays(tmp_path):
    record = make_record(0, task="canny", source=picture(255))
    assert (as_is([record], tmp_path, "canny")[0].source == 255).all()


@pytest.mark.parametrize(("task", "colour"), [("edit", (5, 0, 0)), ("segmentation", (5, 255, 0))])
def test_reconstruction_is_of_photos(tmp_path, task, colour):
    row = as_is([make_record(5, task=task)], tmp_path, "recon")[0]
    assert (row.source == colour).all() and (row.target == colour).all() and not row.mask.any()
    assert row.instruction == "reconstruct the image without changes"
    assert (row.task, row.edit_type) == ("recon", -1)


def test_stores_one_after_the_other(tmp_path):
    a = Store(write_store(tmp_path / "a", [make_record(i, "a") for i in range(3)]))
    b = Store(write_store(tmp_path / "b", [make_record(i, "b") for i in range(2)], 1))
    rows = RowVariant([a, b], "edit", 16)
    assert [int(rows[i].source[0, 0, 0]) for i in range(len(rows))] == [0, 1, 2, 0, 1]


def test_variants_that_do_not_fit(tmp_path):
    with pytest.raises(
        ConfigError, match="row 0 is of the task edit: the variant depth needs depth"
    ):
        as_is([make_record(0)], tmp_path / "a", "depth")
    with pytest.raises(
        ConfigError, match="variant canny needs depth or canny or segmentation or hed"
    ):
        as_is([make_record(0)], tmp_path / "e", "canny")
    mixed = [make_record(0), make_record(1, task="depth")]
    rows = as_is(mixed, tmp_path / "b", "remove")
    with pytest.raises(
        ConfigError, match="row 1 is of the task depth: the variant remove needs edit"
    ):
        rows[1]
    assert as_is(mixed, tmp_path / "c")[1].task == "depth"  # each row as stored
    with pytest.raises(ConfigError, match="variant 'swap': expected one of edit, add, remove"):
        as_is(mixed, tmp_path / "d", "swap")


def test_pictures_that_conversion_made_too_small(tmp_path):
    record = make_record(0, orig_hw=(40, 60))  # kept as 16 x 24
    with pytest.raises(ConfigError, match="image_size=32: .*pipe keeps pictures of 16 pixels.*=32"):
        as_is([record], tmp_path / "a", size=32)
    assert as_is([record], tmp_path / "b", size=16)[0].target.shape == (16, 16, 3)
    published = make_record(0, orig_hw=(16, 24))  # not larger when it was published
    assert as_is([published], tmp_path / "c", size=32)[0].target.shape == (32, 32, 3)


def test_a_damaged_picture_names_store_and_row(tmp_path):
    rows = as_is([make_record(0), make_record(1, target=picture(1)[:-30])], tmp_path)
    assert rows[0].task == "edit"
    with pytest.raises(OSError, match="pipe: row 1 is damaged: "):
        rows[1]


def test_every_task_has_a_variant():
    tasks = {task for tasks in VARIANTS.values() for task in tasks}
    assert {"edit", "recon", "depth", "canny", "segmentation"} <= tasks


def with_codes(variants):
    """Rows with codes that tell the number of the row and the picture: 10 * number + picture."""
    (store,) = variants.stores
    encoding = Encoding("abc", image_size=16, fit="crop varedit", tokens=1, vocabulary=99)
    codes = StoredCodes.create(store, encoding)
    tens = 10 * np.arange(store.rows, dtype=np.int32)[:, None, None]
    codes.write(0, tens + np.arange(len(codes.pictures), dtype=np.int32)[:, None])
    return variants.with_codes(encoding, has_pictures=False)


@pytest.mark.parametrize(
    ("variant", "task", "expected"),
    [
        ("edit", "edit", [[10, 11], [20, 21]]),
        ("add_remove", "edit", [[10, 11], [11, 10], [20, 21], [21, 20]]),
        ("recon", "edit", [[10, 10], [20, 20]]),
        ("recon", "depth", [[11, 11], [21, 21]]),
        ("depth", "depth", [[10, 11], [20, 21]]),
        ("canny", "depth", [[12, 11], [22, 21]]),
        ("canny", "canny", [[10, 11], [20, 21]]),
    ],
)
def test_codes_follow_the_pictures(tmp_path, variant, task, expected):
    write_store(tmp_path / "pipe", [make_record(i, task=task) for i in range(3)], 1)
    drop_list.write(tmp_path / "pipe", "a", [drop_list.Dropped(0, "pipe/train/0", "blurred")])
    rows = RowVariant([Store(tmp_path / "pipe")], variant, 16)
    coded = with_codes(rows)
    assert [coded[i].codes[:, 0].tolist() for i in range(len(coded))] == expected
    for row, plain in zip((coded[i] for i in range(2)), (rows[i] for i in range(2)), strict=True):
        assert row.source is row.target is row.mask is None
        assert (row.instruction, row.task) == (plain.instruction, plain.task)
        assert row.edit_type == plain.edit_type


def test_a_store_without_codes_is_named(tmp_path):
    encoding = Encoding("abc", image_size=16, fit="crop varedit", tokens=1, vocabulary=99)
    with pytest.raises(NoCodes, match="pipe has none"):
        as_is([make_record(0)], tmp_path).with_codes(encoding, has_pictures=True)
