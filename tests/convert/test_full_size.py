"""The published geometries, with random weights: written, converted, loaded, run once on the CPU.

pytest -m huge -s tests/convert/test_full_size.py        # minutes, 20 GB of memory and disk
"""

import resource

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import releases

from jaxedit import Editor, assets, tree
from jaxedit.checkpoints.pretrained import load_pretrained, open_params
from jaxedit.config import SQUARE_SCALES, official
from jaxedit.convert.convert import ConversionConfig, convert
from jaxedit.data.text_tokenizer import TextTokenizer
from jaxedit.models.editar import EditAR, Null

pytestmark = pytest.mark.huge
GIGABYTE = 1e9


def converted(name, directory):
    """The release called `name`, with random weights, as a directory of ours in bfloat16."""
    config = official(name).config
    sources = [
        releases.write(kind, config, directory, seed=0) for kind in releases.kinds_of(config)
    ]
    order = ConversionConfig(src=tuple(map(str, sources)), dst=str(directory / name), settings=name)
    convert(order)
    report(f"{name} converted")
    return directory / name


def report(what):
    """Print the peak of this process's memory so far, in GB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIGABYTE
    print(f"\n{what}: peak {peak:.2f} GB", flush=True)
    return peak


def test_varedit_2b_edits(tmp_path):
    config, params, directory = open_params(converted("varedit-2b-512", tmp_path))
    config.varedit.scales = SQUARE_SCALES[:4]  # 96 px: one CPU draws 512 px for hours
    tokenizer = TextTokenizer.load(directory)
    editor = Editor(config, params, tokenizer, directory=directory, dtype="bfloat16")
    result = editor.edit(assets.ROOT / "scene.png", "make the ball blue")
    assert [len(bits) for bits in result.tokens] == [1, 4, 16, 36]
    assert np.asarray(result.image).std() > 0
    assert tree.count(editor.params["transformer"]) == 2_204_564_032
    assert report("varedit-2b-512 edited") < 20


def test_gpt_xl_runs(tmp_path):
    directory = converted("editar-512", tmp_path)
    config, params, _ = load_pretrained(directory, ("transformer", "null"))
    params = tree.cast(jax.tree.map(jnp.asarray, params), "float32")
    count = sum(leaf.size for leaf in jax.tree.leaves(params["transformer"]))
    assert count == 781_611_008
    codes = jnp.arange(1024, dtype=jnp.int32)[None]
    text = jnp.zeros((1, config.editar.text_tokens, config.editar.text_width))
    null = Null(**params["null"])
    run = jax.jit(EditAR(config.editar).apply)
    output = run({"params": params["transformer"]}, text, codes, null=null, source=codes)
    assert output.logits.shape == (1, 1024, 16384)
    assert np.isfinite(output.logits).all() and np.std(output.logits) > 0
    assert report("editar-512 run") < 20
