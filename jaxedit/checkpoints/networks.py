"""The networks of each kind of model, and the shapes of their parameters."""

import jax
import jax.numpy as jnp

from jaxedit import rng, tree
from jaxedit.config import PretrainedConfig, family_of, sizes_of
from jaxedit.config.family import load
from jaxedit.models import clip, editar, vit
from jaxedit.models.bsq import BSQTokenizer
from jaxedit.models.t5 import T5Encoder
from jaxedit.models.vq import VQTokenizer


def networks_of(config: PretrainedConfig) -> tuple[str, ...]:
    """Names of a model's networks."""
    return family_of(config).networks


def abstract_params(config: PretrainedConfig) -> tree.Tree:
    """Shapes of all parameters, by network: {"bsq": ..., "transformer": ..., "t5": ...}."""
    key = rng.key_for(0, "init")
    pixels, ids = jnp.zeros((1, 64, 64, 3)), jnp.zeros((1, 2), jnp.int32)

    def bsq() -> tree.Tree:
        return BSQTokenizer(config.bsq).init(key, pixels)["params"]

    def transformer() -> tree.Tree:
        return load(family_of(config).init)(sizes_of(config), key)

    def t5() -> tree.Tree:
        return T5Encoder(config.t5).init(key, ids, ids == 0)["params"]

    def vq() -> tree.Tree:
        pixels = jnp.zeros((1, config.vq.stride, config.vq.stride, 3))
        return VQTokenizer(config.vq).init(key, pixels)["params"]

    makers = {
        "bsq": bsq,
        "transformer": transformer,
        "t5": t5,
        "vq": vq,
        "vit": lambda: vit.init_params(config.vit, key),
        "clip": lambda: clip.init_params(config.clip, key),
        "null": lambda: editar.init_null(config.editar, key),
    }
    return {name: jax.eval_shape(makers[name]) for name in networks_of(config)}
