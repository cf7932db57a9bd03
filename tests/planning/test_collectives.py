import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec

from jaxedit.config import MeshConfig
from jaxedit.planning.collectives import UNPARSED, Traffic, traffic, traffic_table
from jaxedit.sharding.mesh import make_mesh

MESH = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))


def program(*lines, rest=""):
    return "\n".join([rest, "ENTRY %main (x: f32[8]) -> f32[8] {", *(f"  {x}" for x in lines), "}"])


@pytest.mark.parametrize(
    ("line", "kind", "axes", "nbytes"),
    [
        # 96 B in all; of a ring of 2, each device sends half, of 4, three quarters
        ("bf16[48]{0} all-gather(%x), replica_groups={{0,1},{2,3}}", "all-gather", "tensor", 48),
        ("f32[4,6] all-gather(%x), replica_groups={{0,2,4,6},{1,3,5,7}}", "", "data fsdp", 72),
        ("f32[24] all-reduce(%x), replica_groups=[4,2]<=[2,2,2]T(0,2,1)", "", "fsdp", 96),
        ("f32[24] all-reduce(%x), replica_groups=[2,4]<=[8]", "", "fsdp tensor", 144),
        ("(f32[20], s8[16]) all-reduce(%x, %y), replica_groups={}", "", "data fsdp tensor", 168),
        ("f32[12] reduce-scatter(%x), replica_groups=[4,2]<=[2,4]T(1,0)", "", "data", 48),
        (
            "pred[96] all-to-all(%x), replica_groups=mesh['a'=2,'b'=2,'c'=1,'d'=2] {'b'}",
            *("", "fsdp", 48),
        ),
        (
            "u8[96] all-gather(%x), replica_groups=mesh['a'=1,'b'=2,'c'=4], "
            "device_ids=([4,2]T(1,0)) {'b'}",
            *("", "tensor", 48),
        ),
        (
            "u8[96] all-gather(%x), replica_groups=mesh['a'=4,'b'=2] {'a','b'}",
            *("", "data fsdp tensor", 84),
        ),
        (
            "(f32[24], f32[24], u32[], u32[]) collective-permute-start(%x), "
            "source_target_pairs={{0,0},{1,5},{5,1}}",
            *("collective-permute", "data", 96),
        ),
        (
            "((f32[12]), (f32[24])) all-gather-start(%x), replica_groups={{0,1},{2,3}}",
            *("all-gather", "tensor", 48),
        ),
    ],
)
def test_bytes_and_axes_by_hand(line, kind, axes, nbytes):
    (row,) = traffic(program(f"%it.1 = {line}, channel_id=3"), MESH)
    assert row.kind == kind or not kind
    assert (" ".join(row.axes), row.count, row.nbytes) == (axes, 1, nbytes)


def test_what_is_spread_over_fused_operations_counts_once():
    gather = "all-gather(%p), channel_id=7, replica_groups={{0,1},{2,3}}"
    rest = "\n".join(
        f"%part.{n} (p: f32[4]) -> f32[8] {{\n  %g{n} = f32[8] {gather}\n}}" for n in "12"
    )
    calls = [f"%f.{n} = f32[8] fusion(%x), kind=kCustom, calls=%part.{n}" for n in "12"]
    assert traffic(program(*calls, rest=rest), MESH) == [Traffic("all-gather", ("tensor",), 1, 16)]


def test_a_sum_that_is_cut_at_once():
    rest = """%all-reduce-scatter.3 (p: f32[8]) -> f32[4] {
  %r = f32[8] all-reduce(%p), channel_id=1, replica_groups=[4,2]<=[8]
}"""
    line = "%f = f32[4] fusion(%x), kind=kCustom, calls=%all-reduce-scatter.3"
    assert traffic(program(line, rest=rest), MESH) == [
        Traffic("reduce-scatter", ("tensor",), 1, 16)
    ]


def test_a_loop_without_a_known_count_runs_up_to_its_constant():
    rest = """%body (p: f32[8]) -> f32[8] {
  %r = f32[8] all-reduce(%p), replica_groups=[4,2]<=[8]
}
%cond (p: f32[8]) -> pred[] {
  %n = s32[]{:T(128)} constant(5)
}"""
    line = "%w = f32[8] while(%x), condition=%cond, body=%body"
    assert traffic(program(line, rest=rest), MESH)[0].count == 5
    known = line + ', backend_config={"known_trip_count":{"n":"3"}}'
    assert traffic(program(known, rest=rest), MESH)[0].count == 3


def test_a_real_program_in_a_loop():
    mesh = make_mesh(MeshConfig(data=1, fsdp=4, tensor=2))

    def step(x, _):
        total = jax.lax.psum(x, "tensor")
        return jax.lax.all_gather(total, "fsdp", axis=0, tiled=True)[:8], None

    def run(x):
        return jax.lax.scan(step, x, length=5)[0]

    spec = PartitionSpec("fsdp", None)
    mapped = jax.shard_map(run, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)
    compiled = jax.jit(mapped).lower(jnp.zeros((32, 4))).compile()  # f32[8,4] on a device: 128 B
    assert traffic(compiled.as_text(), mesh) == [
        Traffic("all-gather", ("fsdp",), 5, 5 * 3 * 128),
        Traffic("all-reduce", ("tensor",), 5, 5 * 128),
    ]


def test_the_table():
    rows = [
        Traffic("all-gather", ("data", "fsdp"), 12, 3e9),
        *(Traffic(kind, ("tensor",), 2, 1e7) for kind in ("all-reduce", "all-to-all")),
    ]
    first, gathers, others = traffic_table(rows).splitlines()
    assert first == "each device sends 3.02 GB a step:"
    assert gathers.split() == ["all-gather", "data", "x", "fsdp", "12", "x", "3.00", "GB"]
    assert others.split() == ["others", "4", "x", "0.02", "GB"]
    assert traffic_table([]) == "a step sends nothing between devices"


def test_a_device_alone_sends_nothing():
    line = "%s = f32[8] all-reduce(%x), replica_groups={{0},{1},{2},{3},{4},{5},{6},{7}}"
    assert traffic(program(line), MESH) == []


@pytest.mark.parametrize(
    "line",
    [
        "%it.1 = f32[8] all-reduce(%x), replica_groups={{0,1},{2}}",  # groups of several sizes
        "%it.1 = f32[8] all-reduce(%x), replica_groups=[3,2]<=[8]",
        "%it.1 = f32[8] all-reduce(%x), replica_groups=mesh['a'=2] {'b'}",
        "it: f32[8] all-gather(%x), groups of two",  # no operation as they are written today
        "%it.1 = f32[8] reduce-scatter(x: f32[16])",
        "%it.1 = f32[8] all-gather(%x), replica_groups=halves",
    ],
)
def test_what_cannot_be_read_is_said_and_the_rest_counted(line):
    known = "%it.2 = f32[24] all-reduce(%x), replica_groups=[2,4]<=[8], channel_id=3"
    rows = traffic(program(known, line), MESH)
    assert rows == [
        Traffic("all-reduce", ("fsdp", "tensor"), 1, 144.0),
        Traffic(UNPARSED, (), 1, 0.0),
    ]
    *_, last = traffic_table(rows).splitlines()
    assert last == "1 collectives are in an unknown notation and not counted"
    assert traffic_table(rows[1:]) == last


@pytest.mark.parametrize("text", ["", "main(x) {\n  y = all-gather(x)\n}", "\0{ all-to-all(%x)"])
def test_a_text_of_another_form_is_no_error(text):
    unread = text.count(" all-")
    assert traffic(text, MESH) == ([Traffic(UNPARSED, (), unread, 0.0)] if unread else [])
