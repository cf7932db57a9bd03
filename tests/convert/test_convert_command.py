"""The command `python -m jaxedit.convert`."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from huggingface_hub import constants
from safetensors.numpy import load_file

from jaxedit import progress
from jaxedit.config import OFFICIAL
from jaxedit.convert import __main__ as command


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "--src is missing"),
        (["--src=absent.pth"], "--dst is missing"),
        (["--src=absent.pth", "--dst=d"], "'absent.pth': no such file or directory"),
        (["--src=list.txt", "--dst=d"], "list.txt: not a PyTorch file: a text, not the weights: x"),
        (["--src=vae.pth", "--dst=d", "--kind=vq"], "--kind=vq: vae.pth holds bsq by its shapes"),
        (["--src=vae.pth", "--dst=d", "--kind=x"], "--kind=x: expected one of auto, varedit"),
        (["--src=vae.pth", "--dst=d", "--settings=editar-512"], "a bsq alone has no such settings"),
        (["--src=vae.pth", "--dst=d", "--dtype=int8"], "argument --dtype: invalid choice: 'int8'"),
        (["--src=vae.pth", "--src=vae.pth", "--dst=d"], "vae.pth and vae.pth both hold bsq"),
        (
            ["--src=vae.pth", "--src=t5", "--dst=d"],
            "bsq, t5 make no model: expected a single network",
        ),
        (["--src=vae.pth", "--dst=list.txt"], "list.txt: exists and is not a pretrained directory"),
        (["--src=vae.pth", "--dst=d", "--ema"], "vae.pth: holds no moving average of weights"),
        (["--src=exported", "--dst=d"], "exported: expected one model, found 3: bsq.safetensors"),
        (["--src=transformer.pth", "--dst=d"], "an editor also needs a bsq: --src=infinity-vae-"),
        (
            ["--src=transformer.pth", "--dst=d", "--settings=varedit-2b-512"],
            "--settings=varedit-2b-512 does not fit transformer.pth: depth=32, but 2 in the file",
        ),
        (["--src=transformer.pth", "--dst=d", "--settings=x"], "'x': expected a bundled name"),
        (["--export=torch", "--src=t5", "--dst=d"], "t5: weights as they were released"),
        (["--export=torch", "--src=a", "--src=b", "--dst=d"], "expected one converted model"),
        (["--src=me/none", "--dst=d"], "the Hub was not reached (HF_HUB_OFFLINE is set)"),
        (["--check", "t5"], "t5: weights as they were released"),
        (["--check", "absent"], "'absent': expected a bundled name"),
        (["--check", "toy-varedit", "--output", "a.jpg"], "expected a name ending in .png"),
        (["--check", "toy-varedit", "--picture", "list.txt"], "list.txt: not a readable picture"),
        (["--frob"], "--frob: no such argument"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    release, tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for path in release.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "list.txt").write_text("x")
    monkeypatch.chdir(tmp_path)
    assert command.main(arguments) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and message in error
    assert not pathlib.Path("d").exists()


def test_the_command_converts_and_exports(release, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS", 0)
    whole = tmp_path / "t5"
    assert command.main([f"--src={release}/t5", f"--dst={whole}", "--dtype=f16"]) == 0
    assert command.main([f"--src={whole}", f"--dst={tmp_path}/out", "--export=torch"]) == 0
    found = load_file(tmp_path / "out/t5.safetensors")
    original = load_file(release / "exported/t5.safetensors")
    assert found.keys() == original.keys()
    for key, array in original.items():
        assert np.array_equal(found[key], array.astype(np.float16))
    out, err = capsys.readouterr()
    assert "writing: " in err and "t5: " in err and "--check" in out
    assert json.loads((tmp_path / "out/config.json").read_text())["layer_norm_epsilon"] == 1e-6


def test_help_and_list_are_quick_and_load_no_jax():
    code = (
        "import sys; from jaxedit.convert import __main__ as m; assert m.main(['--help']) == 0; "
        "assert m.main(['--list']) == 0; "
        "assert not {'jax', 'numpy', 'transformers', 'huggingface_hub'} & set(sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(name in out.stdout for name in OFFICIAL)
    for option in ("src", "dst", "dtype", "kind", "settings", "export", "check", "picture"):
        assert f"--{option}" in out.stdout
