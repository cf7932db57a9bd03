"""The base of the transformers' objectives: text encoder, frozen networks, samples and export."""

from collections.abc import Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, ArrayLike, Float, Int, Key, Shaped, UInt8

from jaxedit.checkpoints.pretrained import save_pretrained
from jaxedit.config import PretrainedConfig, TrainConfig, family_of, sizes_of
from jaxedit.config.family import load
from jaxedit.data.batch import EditBatch
from jaxedit.models.t5 import T5Encoder
from jaxedit.ops import image
from jaxedit.planning import activations, flops
from jaxedit.planning.flops import Forward
from jaxedit.sampling.text_encoder import encode_text
from jaxedit.sharding.rules import to_host
from jaxedit.train.objectives.frozen_networks import cast_block_kernels
from jaxedit.train.objectives.objective import FROZEN, TRAINED, Metrics, Objective, Pass
from jaxedit.tree import Tree


class TransformerObjective(Objective):
    """Trains {"transformer": ...} and, unless weights for it are given, the text encoder {"t5"}.

    The image tokenizer is frozen; it encodes pictures in f32.
    """

    TOKENIZER: ClassVar[str]  # the image tokenizer's name
    tokenizer: nn.Module
    transformer: nn.Module
    columns = ("source", "edit", "target")
    has_source = True  # False: only the target of a pair is encoded

    def __init__(self, config: TrainConfig, frozen: Tree) -> None:
        """Take the networks that are not trained, as `from_config` reads them."""
        self.config, self._frozen = config, frozen
        self.model: PretrainedConfig = config.model
        self.dtype = jnp.dtype(config.dtype)
        self.text_encoder = T5Encoder(self.model.t5, self.dtype)

    def init(self, key: Key[Array, ""]) -> Tree:
        """See `Objective`."""
        transformer_key, text_key = jax.random.split(key)
        init_params = load(family_of(self.model).init)
        params = {"transformer": init_params(sizes_of(self.model), transformer_key)}
        if "t5" not in self._frozen:
            ids = jnp.zeros((1, 2), jnp.int32)
            params["t5"] = self.text_encoder.init(text_key, ids, ids == 0)["params"]
        return params

    def frozen(self) -> Tree:
        """See `Objective`; the kernels of blocks have the dtype of their products."""
        return cast_block_kernels(self._frozen, self.config.dtype)

    def loss(
        self,
        params: Tree,
        frozen: Tree,
        batch: EditBatch,
        key: Key[Array, ""],
        step: Int[ArrayLike, ""],
        *,
        is_training: bool = True,
    ) -> tuple[Float[Array, ""], Metrics]:
        """See `Objective`."""
        # Cast here and not in each layer: the stacks of kernels and gradients are half as large.
        networks = frozen | cast_block_kernels(params, self.config.dtype)
        t5 = {"params": networks["t5"]}
        text = self.text_encoder.apply(t5, batch.text_ids, batch.text_mask)
        return self._loss(networks, batch, text, key, is_training)

    def passes(self) -> list[Pass]:
        """See `Objective`."""
        sizes, data = getattr(self.model, self.TOKENIZER), self.config.data
        picture = flops.image_encoder(sizes, data.image_size)
        text = FROZEN if "t5" in self._frozen else TRAINED
        return [
            Pass(self.TOKENIZER, picture, (1 + self.has_source) * FROZEN),
            Pass("t5", flops.t5(self.model.t5, data.text_tokens), text),
            Pass("transformer", self._forward(), TRAINED),
        ]

    def activations(self, rows: int) -> int:
        """See `Objective`: the larger of encoding the pictures, and text and transformer."""
        sizes, data = getattr(self.model, self.TOKENIZER), self.config.data
        encoding = activations.image_encoder(sizes, data.image_size) * (1 + self.has_source)
        predicting = self._saved(self.dtype.itemsize)
        if "t5" not in self._frozen:
            tokens, itemsize = data.text_tokens, self.dtype.itemsize
            predicting += activations.t5_training(self.model.t5, tokens, itemsize)
        return rows * max(encoding, predicting)

    def encode(
        self, tokenizer: Tree, pictures: Sequence[UInt8[ArrayLike, "B H W 3"]], method: str
    ) -> Shaped[Array, "B n ..."]:
        """Encode n pictures of each pair, as constants, by a method of the image tokenizer."""
        # A pair's pictures side by side: devices keep their rows.
        pixels = image.to_float(jnp.stack(pictures, axis=1))
        B, n = pixels.shape[:2]
        pixels = pixels.reshape(B * n, *pixels.shape[2:])  # [B*n,H,W,3]
        found = self.tokenizer.apply({"params": tokenizer}, pixels, method=method)
        return jax.lax.stop_gradient(found.reshape(B, n, *found.shape[1:]))

    def edit(self, params: Tree, frozen: Tree, batch: EditBatch) -> UInt8[Array, "B H W 3"]:
        """Sample the target pictures; all rows have the seed of the run."""
        networks = frozen | params
        text = encode_text(
            networks["t5"],
            batch.text_ids,
            batch.text_mask,
            config=self.model.t5,
            dtype=self.config.dtype,
        )
        seeds = np.full(len(batch.source), self.config.seed, np.int32)
        return self._edit(networks, batch, text, seeds)

    def sample_grid(
        self, params: Tree, frozen: Tree, batch: EditBatch
    ) -> UInt8[np.ndarray, "B 3 H W 3"]:
        """Draw source, sampled edit and target."""
        output = self.edit(params, frozen, batch)
        return to_host(jnp.stack([batch.source, output, batch.target], axis=1))

    def export(self, params: Tree, directory: str) -> None:
        """Write the family's networks and the text tokenizer as a pretrained directory."""
        names = family_of(self.model).networks
        networks = {n: tree for n, tree in (self._frozen | params).items() if n in names}
        dtype = self.config.export_dtype
        save_pretrained(directory, self.model, networks, self.config.text_tokenizer, dtype=dtype)

    def _loss(
        self, networks: Tree, batch: EditBatch, text: Array, key: Array, is_training: bool
    ) -> tuple[Array, Metrics]:
        """Return loss and metrics; `text` are features."""

    def _forward(self) -> Forward:
        """Count the operations of the transformer's forward pass."""

    def _saved(self, itemsize: int) -> int:
        """Estimate the bytes that the transformer saves for the backward pass of a pair."""

    def _edit(self, networks: Tree, batch: EditBatch, text: Array, seeds: np.ndarray) -> Array:
        """Sample the target pictures, u8; `text` are features, and each row has a seed."""
