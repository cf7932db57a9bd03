"""The shapes of the parameters of each kind of model."""

import functools

import jax
import jax.numpy as jnp

from jaxedit import rng, tree
from jaxedit.config import PretrainedConfig, family_of, sizes_of
from jaxedit.config.family import load
from jaxedit.models import clip, editar, inception, vit
from jaxedit.models.bsq import BSQTokenizer
from jaxedit.models.lpips import LPIPS
from jaxedit.models.t5 import T5Encoder
from jaxedit.models.vq import VQTokenizer


def abstract_params(config: PretrainedConfig) -> tree.Tree:
    """Return the shapes of all parameters, by network: {"bsq": ..., "transformer": ...}."""
    return jax.tree.map(lambda leaf: leaf, _traced(config))  # a copy, which the caller may change


@functools.lru_cache(32)
def _traced(config: PretrainedConfig) -> tree.Tree:
    """Return `abstract_params`, once for each config: tracing takes up to a second.

    Loading or planning a model asks for its shapes several times.
    """
    key = rng.key_for(0, "init")
    ids = jnp.zeros((1, 2), jnp.int32)

    def pixels(side: int) -> jax.Array:
        return jnp.zeros((1, side, side, 3))

    makers = {
        "bsq": lambda: BSQTokenizer(config.bsq).init(key, pixels(64))["params"],
        "transformer": lambda: load(family_of(config).init)(sizes_of(config), key),
        "t5": lambda: T5Encoder(config.t5).init(key, ids, ids == 0)["params"],
        "vq": lambda: VQTokenizer(config.vq).init(key, pixels(config.vq.stride))["params"],
        "vit": lambda: vit.init_params(config.vit, key),
        "clip": lambda: clip.init_params(config.clip, key),
        "lpips": lambda: LPIPS(config.lpips.backbone).init(key, pixels(32), pixels(32))["params"],
        "inception": lambda: inception.init_params(key),
        "null": lambda: editar.init_null(config.editar, key),
    }
    return {name: jax.eval_shape(makers[name]) for name in family_of(config).networks}
