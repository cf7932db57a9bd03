"""MultiGen-20M and COCO-Stuff in their published layouts."""

from fabricate_parquet import GREEN, RED, WHITE, image, write

from jaxedit.datasets.readers import DATASETS, open_published
from jaxedit.datasets.readers.parquet_maps import CocoStuff, MultiGenCanny, MultiGenDepth

SHARD = "data/train-00000-of-00001.parquet"


def only_row(dataset):
    (part,) = dataset.parts()
    (row,) = dataset.read(part)
    return row


def test_multigen_depth_may_be_stored_as_a_photo(tmp_path):
    row = {"image": image(GREEN), "control_depth": image(RED), "text": "a dog"}
    write(tmp_path / SHARD, [row], pictures=("image", "control_depth"))
    dataset = MultiGenDepth(tmp_path)
    result = only_row(dataset)
    assert (result.source, result.target, result.instruction) == (RED, GREEN, "a dog")
    assert result.task == "depth" and not dataset.keeps_labels


def test_multigen_canny_is_the_published_column(tmp_path):
    row = {"image": image(GREEN), "text": "a dog", "canny": image(WHITE), "hed": image(RED)}
    write(tmp_path / SHARD, [row], pictures=("image", "canny", "hed"))
    dataset = MultiGenCanny(tmp_path)
    result = only_row(dataset)
    assert (result.source, result.target, result.task) == (WHITE, GREEN, "canny")
    assert dataset.keeps_labels


def test_cocostuff_reads_colours_and_one_caption_and_leaves_the_validation_split(tmp_path):
    row = {
        "image": image(GREEN),
        "prompt": ["", "a dog on grass", "grass"],
        "control_seg": image(RED),
        "panoptic_seg_map": image(WHITE),
        "image_path": "000000000009.jpg",
    }
    pictures = ("image", "control_seg", "panoptic_seg_map")
    for name in (SHARD, SHARD.replace("train", "validation")):
        write(tmp_path / name, [row], pictures=pictures)
    dataset = open_published("cocostuff", tmp_path)
    result = only_row(dataset)
    assert (result.source, result.instruction) == (RED, "a dog on grass")
    assert result.task == "segmentation" and isinstance(dataset, CocoStuff) and dataset.keeps_labels


def test_names_of_the_registry_are_those_of_the_readers(tmp_path):
    rows = [{"canny": image(RED), "image": image(RED), "text": "a"}]
    write(tmp_path / SHARD, rows, pictures=("canny", "image"))
    assert open_published("multigen-canny", tmp_path).name == "multigen-canny" in DATASETS
