import json

import pytest

from jaxedit.editor.list_file import Row
from jaxedit.editor.list_manifest import alone, finished, forget, gather, opened, path_of, write
from jaxedit.engines.options import Shard

ROWS = [Row(f"list.jsonl:{number}") for number in (1, 2, 3, 10)]


def entry(number, status="ok", **more):
    return {"row": f"list.jsonl:{number}", "status": status, "output": f"{number}.png"} | more


def add(folder, shard, *entries):
    with opened(path_of(folder, shard)) as manifest:
        for each in entries:
            write(manifest, each)


def lines(folder):
    return [json.loads(line) for line in path_of(folder).read_text().splitlines()]


def test_lines_of_shards_take_the_order_of_the_list(tmp_path):
    add(tmp_path, Shard(0, 2), entry(1), entry(3))
    add(tmp_path, Shard(1, 2), entry(2, "failed"), entry(10), entry(2))
    assert set(finished(tmp_path)) == {"1.png", "2.png", "3.png", "10.png"}
    assert gather(tmp_path, ROWS) == [entry(1), entry(2), entry(3), entry(10)] == lines(tmp_path)
    assert list(tmp_path.iterdir()) == [path_of(tmp_path)]
    assert gather(tmp_path, ROWS) == []


def test_a_run_killed_while_gathering_repeats_no_line(tmp_path):
    add(tmp_path, Shard(0, 1), entry(1), entry(2), entry(3))
    add(tmp_path, None, entry(1), entry(2))
    with path_of(tmp_path).open("a") as file:
        file.write(json.dumps(entry(3))[:9])
    gather(tmp_path, ROWS)
    whole = [line for line in path_of(tmp_path).read_text().splitlines() if line.endswith("}")]
    assert [json.loads(line) for line in whole] == [entry(1), entry(2), entry(3)]


def test_shards_share_a_folder_and_whole_runs_do_not(tmp_path):
    first, second = Shard(0, 2), Shard(1, 2)
    with alone(tmp_path, first):
        with alone(tmp_path, second):
            pass
        for other in (first, None):
            with pytest.raises(OSError, match="another run writes there"), alone(tmp_path, other):
                pass
    with alone(tmp_path, None), pytest.raises(OSError, match="another"), alone(tmp_path, first):
        pass


def test_forgetting(tmp_path):
    for shard in (None, Shard(0, 2), Shard(1, 2)):
        add(tmp_path, shard, entry(1 + shard.index if shard else 9))
    forget(tmp_path, Shard(0, 2))
    assert set(finished(tmp_path)) == {"2.png", "9.png"}
    forget(tmp_path, None)
    assert finished(tmp_path) == {} and lines(tmp_path) == []
