"""Metric networks beside their PyTorch originals, with the same random weights, on CPU.

`python benchmarks/metrics.py --networks` prints the time of a batch of each and the largest
difference of their outputs. CLIP is Hugging Face's; DINO and LPIPS are written here after their
official code. All are in eager mode without gradients, as the papers' evaluations ran them.
docs/evaluation.md has the numbers.
"""

import importlib.util
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from unittest import mock

import numpy as np

Call = Callable[[], np.ndarray]


def compare(names: Sequence[str], *, rows: int, threads: int, repeats: int) -> None:
    """Print the time of each network, and the original's beside it if PyTorch is installed.

    Calls alternate, so that other work on the machine slows both alike; the fastest counts.

    Args:
      names: of `NETWORKS`.
      rows: pictures, texts or pairs of a call.
    """
    # Before jax makes its threads, as many as there are cores to run on
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    if any(importlib.util.find_spec(name) is None for name in ("torch", "transformers")):
        raise SystemExit("the originals need PyTorch: pip install torch transformers")
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    print(f"| {rows} rows, {threads} threads | ours, s | PyTorch, s | CPU s | CPU s | difference |")
    print("| --- | --- | --- | --- | --- | --- |")
    for network in names:
        for name, calls in NETWORKS[network](rows).items():
            batch = mock.patch("jaxedit.evaluate.networks.BATCH", rows)
            with torch.no_grad(), batch:
                ours, theirs = (call() for call in calls)  # compiles
                times = np.array([[_timed(call) for call in calls] for _ in range(repeats)]).min(0)
            (wall, cpu), (torch_wall, torch_cpu) = times
            difference = np.abs(ours - theirs).max() / np.abs(theirs).max()
            row = f"{wall:.3f} | {torch_wall:.3f} | {cpu:.3f} | {torch_cpu:.3f} | {difference:.0e}"
            print(f"| {name} | {row} |", flush=True)


def _timed(call: Call) -> tuple[float, float]:
    start, start_cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - start, time.process_time() - start_cpu


def clip(rows: int) -> Mapping[str, Sequence[Call]]:
    """Return calls of CLIP B/32, ours and PyTorch's."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    from jaxedit.convert.keymaps import keymap_clip
    from jaxedit.evaluate.networks import CLIPNetwork

    model = CLIPModel(CLIPConfig()).eval()
    ours = _ours(CLIPNetwork, "clip-vit-base-patch32", keymap_clip.KEYMAP, model)
    pixels = _pixels(rows, 224)
    ids = np.random.default_rng(1).integers(1, 49405, (rows, 77))
    ids[:, -1] = 49407  # ends a text
    moved, torch_ids = _to_torch(pixels), torch.from_numpy(ids)

    def features(output: Any) -> np.ndarray:
        return getattr(output, "pooler_output", output).numpy()

    seen = np.ones_like(ids, bool)
    return {
        "CLIP B/32, pictures of 224 px": (
            lambda: ours._run(ours._image, pixels),
            lambda: features(model.get_image_features(moved)),
        ),
        "CLIP B/32, texts of 77 tokens": (
            lambda: ours._run(ours._text, ids.astype(np.int32), seen),
            lambda: features(model.get_text_features(torch_ids)),
        ),
    }


def dino(rows: int) -> Mapping[str, Sequence[Call]]:
    """Return calls of DINO ViT-B/8: keys of the last layer."""
    import torch
    from torch import nn

    from jaxedit.convert.keymaps import keymap_vit
    from jaxedit.evaluate.networks import DINONetwork

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.proj = nn.Linear(768, 3 * 768), nn.Linear(768, 768)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            B, N, C = x.shape
            self.kept = self.qkv(x)  # PIE-Bench's evaluation reads keys by a hook
            q, k, v = self.kept.reshape(B, N, 3, 12, C // 12).permute(2, 0, 3, 1, 4)
            weights = ((q @ k.transpose(-2, -1)) * 64**-0.5).softmax(-1)
            return self.proj((weights @ v).transpose(1, 2).reshape(B, N, C))

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(768, eps=1e-6), nn.LayerNorm(768, eps=1e-6)
            self.attn = Attention()
            self.mlp = nn.ModuleDict({"fc1": nn.Linear(768, 3072), "fc2": nn.Linear(3072, 768)})

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x + self.attn(self.norm1(x))
            return x + self.mlp["fc2"](nn.functional.gelu(self.mlp["fc1"](self.norm2(x))))

    class ViT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, 768))
            self.pos_embed = nn.Parameter(0.02 * torch.randn(1, 785, 768))
            self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, 768, 8, 8)})
            self.blocks = nn.ModuleList(Block() for _ in range(12))
            self.norm = nn.LayerNorm(768, eps=1e-6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.patch_embed["proj"](x).flatten(2).transpose(1, 2)
            x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
            for block in self.blocks:
                x = block(x)
            self.norm(x)
            return self.blocks[-1].attn.kept[..., 768:1536]

    model = ViT().eval()
    ours = _ours(DINONetwork, "dino-vitb8", keymap_vit.KEYMAP, model)
    pixels = _pixels(rows, 224)
    moved = _to_torch(pixels)
    return {
        "DINO B/8, pictures of 224 px": (lambda: ours.keys(pixels), lambda: model(moved).numpy())
    }


def lpips(rows: int) -> Mapping[str, Sequence[Call]]:
    """Return calls of LPIPS with SqueezeNet: distances of pairs of pictures."""
    import torch
    from torch import nn

    from jaxedit.convert.keymaps import keymap_lpips
    from jaxedit.evaluate.networks import LPIPSNetwork

    class Fire(nn.Module):
        def __init__(self, channels: int, squeezed: int, expanded: int) -> None:
            super().__init__()
            self.squeeze = nn.Conv2d(channels, squeezed, 1)
            self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
            self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.squeeze(x).relu()
            return torch.cat([self.expand1x1(x).relu(), self.expand3x3(x).relu()], 1)

    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    fires = [(64, 16, 64), (128, 16, 64), (128, 32, 128), (256, 32, 128)]
    fires += [(256, 48, 192), (384, 48, 192), (384, 64, 256), (512, 64, 256)]
    a, b, c, d, *rest = (Fire(*sizes) for sizes in fires)

    class LPIPS(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers = [nn.Conv2d(3, 64, 3, 2), nn.ReLU(), pool(), a, b, pool(), c, d, pool(), *rest]
            self.features = nn.ModuleList(layers)
            for n, channels in enumerate((64, 128, 256, 384, 384, 512, 512)):
                layer = nn.Conv2d(channels, 1, 1, bias=False)
                layer.weight.data.abs_()
                setattr(self, f"lin{n}", nn.ModuleDict({"model": nn.ModuleDict({"1": layer})}))

        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            total = 0
            for n, (x, y) in enumerate(zip(self.taps(a), self.taps(b), strict=True)):
                lin = getattr(self, f"lin{n}")["model"]["1"]
                total = total + lin((x - y) ** 2).mean((2, 3))[:, 0]
            return total

        def taps(self, x: torch.Tensor) -> list[torch.Tensor]:
            shift, scale = torch.tensor([[-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]])
            x, found = ((2 * x - 1) - shift[:, None, None]) / scale[:, None, None], []
            for n, layer in enumerate(self.features):
                x = layer(x)
                if n in (1, 4, 7, 9, 10, 11, 12):
                    found.append(x / (1e-8 + (x**2).sum(1, keepdim=True)).sqrt())
            return found

    model = LPIPS().eval()
    ours = _ours(LPIPSNetwork, "lpips-squeeze", keymap_lpips.KEYMAP, model)
    first, second = np.abs(_pixels(rows, 512)) % 1, np.abs(_pixels(rows, 512, seed=1)) % 1
    moved = _to_torch(first), _to_torch(second)
    return {
        "LPIPS, pairs of 512 px": (
            lambda: ours.lpips(first, second),
            lambda: model(*moved).numpy(),
        )
    }


NETWORKS = {"clip": clip, "dino": dino, "lpips": lpips}


def _ours(network: type, name: str, keymap: Any, model: Any) -> Any:
    """Return our network with the parameters of a PyTorch module."""
    from jaxedit.config import official
    from jaxedit.convert.keymaps.keymap import from_torch

    state = {key: value.numpy() for key, value in model.state_dict().items()}
    return network(official(name).config, from_torch(keymap, state))


def _pixels(rows: int, side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, side, side, 3), np.float32)


def _to_torch(pixels: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
