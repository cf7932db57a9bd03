"""The node: pictures, a mask and an instruction in, edited pictures out.

It needs only what ComfyUI has: torch, numpy, Pillow and Python's own library.
"""

import base64
import io
from typing import Any

import numpy as np
import torch
from PIL import Image

from .client import Server

DEFAULT = "default"  # of the server's weights


class JaxEdit:
    """Edits pictures by an instruction, at a jaxedit server."""

    CATEGORY = "image/edit"
    DESCRIPTION = "Edits pictures by an instruction, at a server: python -m jaxedit.serve"
    FUNCTION = "edit"
    RETURN_TYPES = ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """Return the inputs, as ComfyUI asks for them."""
        methods = [DEFAULT, "varedit", "varedit+erec", "editar", "editar+erec"]
        return {
            "required": {
                "image": ("IMAGE",),
                "instruction": ("STRING", {"multiline": True, "default": "make the ball blue"}),
                "server": ("STRING", {"default": "http://127.0.0.1:8000"}),
                "seed": ("INT", {"default": 0, "min": 0, "max": 2**31 - 1}),
            },
            "optional": {
                "mask": ("MASK", {"tooltip": "edit only where it is white"}),
                "model": ("STRING", {"default": "", "tooltip": "empty: the server's first"}),
                "method": (methods, {"default": DEFAULT}),
                "guidance": (
                    "FLOAT",
                    {
                        "default": -1.0,
                        "min": -1.0,
                        "max": 20.0,
                        "step": 0.1,
                        "tooltip": "-1: default",
                    },
                ),
                "api_key_file": ("STRING", {"default": "", "tooltip": "of servers with keys"}),
                "timeout": ("INT", {"default": 300, "min": 1, "max": 3600, "tooltip": "seconds"}),
            },
        }

    def edit(
        self,
        image: Any,
        instruction: str,
        server: str,
        seed: int,
        mask: Any = None,
        model: str = "",
        method: str = DEFAULT,
        guidance: float = -1.0,
        api_key_file: str = "",
        timeout: int = 300,
    ) -> tuple[Any]:
        """Edit each picture of a batch; picture i takes the seed `seed` + i.

        Args:
          image: f32[B, H, W, 3 or 4] in [0, 1].
          mask: f32[B or 1, H, W] in [0, 1]; white may change. Black everywhere, as `Load Image`
            gives it for pictures without transparency: all may change.

        Returns:
          (f32[B, H', W', 3],)

        Raises:
          RuntimeError: the server was not reached or refused; one line, which ComfyUI shows.
        """
        fields = {"prompt": instruction}
        fields |= {"model": model} if model else {}
        fields |= {"method": method} if method != DEFAULT else {}
        fields |= {"guidance": str(guidance)} if guidance >= 0 else {}
        door = Server(server, api_key_file=api_key_file, timeout=timeout)
        pictures, masks = np.asarray(image), _masks(mask, len(image))
        edited = []
        for i, picture in enumerate(pictures):
            files = {"image": _png(picture)}
            if masks is not None:
                files["mask"] = _png(masks[i])
            answer = door.post_edit(fields | {"seed": str(seed + i)}, files)
            edited.append(_pixels(answer["data"][0]["b64_json"]))
        return (torch.from_numpy(np.stack(edited)),)


def _masks(mask: Any, count: int) -> Any:
    """Return a mask for each picture, or None if all may change."""
    if mask is None or not np.any(np.asarray(mask)):
        return None
    masks = np.asarray(mask)
    masks = masks[None] if masks.ndim == 2 else masks
    if len(masks) not in (1, count):
        raise RuntimeError(f"jaxedit: {len(masks)} masks: expected 1, or {count} as the pictures")
    return np.broadcast_to(masks, (count, *masks.shape[1:]))


def _png(values: Any) -> bytes:
    """Return a picture or mask in [0, 1] as a file."""
    file = io.BytesIO()
    Image.fromarray(np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def _pixels(text: str) -> Any:
    """Return the pixels, f32[H, W, 3] in [0, 1], of a file in base64."""
    picture = Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB")
    return np.asarray(picture, np.float32) / 255
