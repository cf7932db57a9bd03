"""The page of `accelerator.py`: what was measured, beside what the device can do at best."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Report = Mapping[str, Any]
Rows = list[list[str]]


def page(report: Report) -> str:
    """Return the report as Markdown."""
    machine = results(report, "device") or {}
    parts = [f"# Measured on {machine.get('device', 'an unknown device')}", "", about(report), ""]
    for title, make in (
        ("The device", device_rows),
        ("Tokens", token_rows),
        ("Edits", edit_rows),
        ("Training steps", training_rows),
        ("Bundled models, through `Editor`", bundled_rows),
    ):
        parts += [f"## {title}", "", *table(make, report), ""]
    parts += ["Peak memory is the device's; of a CPU the process's."]
    failed = {name: e for name, e in report["entries"].items() if e["failure"]}
    if failed:
        parts += ["", "## Not measured", ""]
        parts += [f"- {name}: {e['failure']} (`{e['command']}`)" for name, e in failed.items()]
    return "\n".join(parts) + "\n"


def results(report: Report, name: str) -> Any:
    """Return the results of an entry, or None."""
    return report["entries"].get(name, {}).get("results")


def about(report: Report) -> str:
    """Return the date, the versions, and the size of the shapes."""
    machine = results(report, "device")
    seconds = f"`benchmarks/accelerator.sh` took {report['seconds']} s."
    if report["is_tiny"]:
        seconds += " Tiny shapes: the numbers only show that everything runs."
    if machine is None:
        return seconds
    memory = f" of {machine['memory_gb']:.1f} GB" if machine["memory_gb"] else ""
    return (
        f"{machine['date']}, jax {machine['jax']}, jaxlib {machine['jaxlib']}, "
        f"Python {machine['python']}, {machine['backend']}; {machine['devices']} device{memory}. "
        f"{seconds}"
    )


def table(make: Callable[[Report], Rows], report: Report) -> list[str]:
    """Return the lines of a table, or a remark if it has no rows."""
    head, *rows = make(report)
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines] if rows else ["Nothing was measured."]


def device_rows(report: Report) -> Rows:
    """Return the bandwidth and the products of the device."""
    rows, machine = [["", "measured", "data sheet"]], results(report, "device")
    if machine is None:
        return rows
    rows += [
        ["memory, read", f"{machine['read_gb_s']:.1f} GB/s", ""],
        ["memory, read and written", f"{machine['copy_gb_s']:.1f} GB/s", ""],
    ]
    sheet = machine["data_sheet_tflops"]
    for name, value in machine["tflops"].items():
        known = f"{sheet:g} TFLOP/s" if sheet and name == "bfloat16" else ""
        rows.append([f"products, {name}", f"{value:.3g} TFLOP/s", known])
    return rows


def token_rows(report: Report) -> Rows:
    """Return the time of a token, beside the time to read what a token needs."""
    head = ["", "ms a token", "ms to read weights and caches", "share", "prefill", "rows", "tokens"]
    rows, machine = [[*head, "dtype", "peak memory", "compiled in"]], results(report, "device")
    for name in ("editar", "erec", "llamagen"):
        for r in results(report, name) or ():
            floor = 1e3 * r["floor_gb"] / machine["read_gb_s"] if machine else r["floor_ms"]
            rows.append(
                [
                    name,
                    f"{r['ms_per_token']:.2f}",
                    f"{floor:.2f}",
                    percent(floor / r["ms_per_token"]),
                    f"{1e3 * r['prefill_s']:.0f} ms",
                    str(r["rows"]),
                    str(r["tokens"]),
                    r["dtype"],
                    *_costs(r),
                ]
            )
    return rows


def edit_rows(report: Report) -> Rows:
    """Return the time of an edit by VAREdit."""
    head = ["", "ms an edit", "TFLOP/s", "of the measured products", "batch", "dtype"]
    rows = [[*head, "peak memory", "compiled in"]]
    for r in results(report, "varedit") or ():
        tflops = 1e3 * r["tflop_per_edit"] / r["ms_per_edit"]
        share = share_of_products(report, tflops, r["dtype"])
        measured = [f"{r['ms_per_edit']:.0f}", f"{tflops:.3g}", share, str(r["batch"]), r["dtype"]]
        rows.append(["varedit", *measured, *_costs(r)])
    return rows


def training_rows(report: Report) -> Rows:
    """Return the speed of training steps, and what they use of the device."""
    head = ["", "images/s", "ms a step", "TFLOP/s", "MFU", "of the measured products", "batch"]
    rows = [[*head, "remat", "dtype", "peak memory", "compiled in"]]
    for name in ("train-editar", "train-varedit"):
        for r in results(report, name) or ():
            tflops = r["tflops_per_device"]
            rows.append(
                [
                    name,
                    f"{r['images_per_s']:.2f}",
                    f"{r['ms_per_step']:.0f}",
                    f"{tflops:.3g}",
                    percent(r["mfu"]) if "mfu" in r else "–",
                    share_of_products(report, tflops, r["dtype"]),
                    str(r["batch"]),
                    r["remat"],
                    r["dtype"],
                    *_costs(r),
                ]
            )
    return rows


def bundled_rows(report: Report) -> Rows:
    """Return the speed of the bundled models."""
    rows = [["", "ms an edit", "images/s in batches", "batch", "peak memory"]]
    for name in ("toy-varedit", "toy-editar"):
        if r := results(report, name):
            measured = [f"{r['ms_per_edit']:.1f}", f"{r['images_per_s']:.1f}", str(r["batch"])]
            rows.append([name, *measured, memory_of(r)])
    return rows


def share_of_products(report: Report, tflops: float, dtype: str) -> str:
    """Return the share of the measured speed of products of this type, – if it is not known."""
    machine = results(report, "device")
    return percent(tflops / machine["tflops"][dtype]) if machine else "–"


def memory_of(result: Mapping[str, Any]) -> str:
    """Return the peak memory."""
    return f"{result['peak_mb'] / 1e3:.2f} GB"


def percent(share: float) -> str:
    """Return a share as a percentage."""
    return f"{100 * share:.0f} %"


def _costs(result: Mapping[str, Any]) -> Sequence[str]:
    return memory_of(result), f"{result['compile_s']:.0f} s"
