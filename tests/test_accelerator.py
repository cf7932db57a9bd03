"""The measurements of an accelerator: what fails loses nothing, and the page says it."""

import argparse
import json
import os
import pathlib
import subprocess
import sys

import pytest

BENCHMARKS = pathlib.Path(__file__).parents[1] / "benchmarks"
MACHINE = {
    "date": "2026-11-30",
    "platform": "gpu",
    "device": "NVIDIA H100 80GB HBM3",
    "devices": 1,
    "memory_gb": 73.2,
    "data_sheet_tflops": 989.0,
    "jax": "0.10.2",
    "jaxlib": "0.10.2",
    "backend": "CUDA 13",
    "python": "3.11.7",
    "read_gb_s": 3000.0,
    "copy_gb_s": 2500.0,
    "tflops": {"bfloat16": 700.0, "float32": 350.0, "float32 highest": 50.0},
}
TOKENS = {
    "dtype": "bfloat16",
    "rows": 2,
    "tokens": 1024,
    "compile_s": 31.4,
    "prefill_s": 0.02,
    "ms_per_token": 1.5,
    "floor_gb": 1.8,
    "floor_ms": 99.0,
    "peak_mb": 2500.0,
}
STEP = {
    "batch": 8,
    "remat": "cheap",
    "dtype": "bfloat16",
    "compile_s": 61.0,
    "ms_per_step": 400.0,
    "images_per_s": 20.0,
    "peak_mb": 52000.0,
    "tflops_per_device": 280.0,
    "mfu": 280 / 989,
}


@pytest.fixture(scope="module")
def accelerator():
    """The module, whose neighbours are found as when it runs as a script."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        import accelerator

        yield accelerator


def record(results, failure=None):
    return {"command": "python x.py", "seconds": 1, "failure": failure, "results": results}


def test_the_page_compares_with_the_device_itself(accelerator):
    entries = {
        "device": record(MACHINE),
        "editar": record([TOKENS]),
        "train-editar": record([STEP]),
        "train-varedit": record(None, "RESOURCE_EXHAUSTED: 80 GB"),
    }
    page = accelerator.page({"entries": entries, "is_tiny": False, "seconds": 300})
    assert page.startswith("# Measured on NVIDIA H100 80GB HBM3\n\n2026-11-30, jax 0.10.2")
    # 1.8 GB at 3000 GB/s are 0.6 ms, of 1.5
    assert "| editar | 1.50 | 0.60 | 40 % | 20 ms | 2 | 1024 | bfloat16 | 2.50 GB | 31 s |" in page
    assert "| train-editar | 20.00 | 400 | 280 | 28 % | 40 % | 8 | cheap |" in page
    assert "| products, bfloat16 | 700 TFLOP/s | 989 TFLOP/s |" in page
    assert "- train-varedit: RESOURCE_EXHAUSTED: 80 GB (`python x.py`)" in page
    assert page.count("Nothing was measured.") == 2 and "varedit | 0" not in page
    del entries["device"]  # then an entry's own measure of the bandwidth is taken
    page = accelerator.page({"entries": entries, "is_tiny": True, "seconds": 300})
    assert "# Measured on an unknown device" in page and "| editar | 1.50 | 99.00 |" in page


SCRIPTS = {
    "good.py": "import pathlib, sys; pathlib.Path(sys.argv[-1][7:]).write_text('[]')",
    "full.py": "print('jax: RESOURCE_EXHAUSTED: Out of memory: 9 GB'); print('bye'); exit(1)",
    "slow.py": "import time; time.sleep(60)",
    "gone.py": "import os; os.kill(os.getpid(), 9)",
}


def test_what_fails_loses_nothing(accelerator, tmp_path, monkeypatch):
    for name, code in SCRIPTS.items():
        (tmp_path / name).write_text(code)
    monkeypatch.setattr(accelerator, "BENCHMARKS", tmp_path)
    order = ("full.py", "gone.py", "slow.py", "good.py")
    entries = [accelerator.Entry(name[:4], 1 + 9 * (name[0] == "g"), name) for name in order]
    args = argparse.Namespace(tiny=True, only=None, minutes=9)
    assert accelerator.measure(entries, tmp_path, args) == 1
    made = json.loads((tmp_path / "accelerator.json").read_text())["entries"]
    assert {name: made[name]["failure"] for name in made} == {
        "full": "jax: RESOURCE_EXHAUSTED: Out of memory: 9 GB",
        "gone": "ended by signal 9",
        "slow": "not done within its 1 s",
        "good": None,
    }
    assert made["good"]["results"] == []
    again = [accelerator.Entry("slow", 10, "good.py")]  # only this, and no time for anything
    args = argparse.Namespace(tiny=True, only="slow", minutes=0)
    assert accelerator.measure(again, tmp_path, args) == 1
    made = json.loads((tmp_path / "accelerator.json").read_text())["entries"]
    assert made["slow"]["failure"] is not None and made["good"]["results"] == []


def test_options_are_those_of_the_scripts(accelerator):
    for entry in accelerator.ENTRIES:
        source = (BENCHMARKS / entry.script).read_text()
        for option in f"{entry.options} {entry.tiny} --json".split():
            name = option.split("=")[0]
            assert f'"{name}"' in source or name.startswith("--config"), (entry.name, name)


def test_a_measurement_of_this_machine(tmp_path):
    command = [BENCHMARKS / "accelerator.sh", "--tiny", "--only=device", "--minutes=90", tmp_path]
    environment = os.environ | {"PYTHON": sys.executable}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "accelerator.md").read_text()
    assert "# Measured on cpu" in page and "GB/s" in page and "Tiny shapes" in page


def test_unknown_names_are_refused(tmp_path):
    command = [sys.executable, BENCHMARKS / "accelerator.py", "--only=editor", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and not (tmp_path / "out").exists()
    assert "--only=editor: editor: expected some of device," in done.stderr
