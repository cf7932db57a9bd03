"""Measure which bits a locked token should take, and draw docs/masks.png.

    python benchmarks/masks.py --model toy-varedit --pairs 100 --output docs/masks.png

The measurement needs no transformer: editable tokens take the bits that a perfect model would
choose, those of the target's residual, of which a share is inverted at random: real models err.
Locked tokens take the source's bits: of the source's own pyramid ("own"), or of the residual that
the running feature leaves ("running"); "unlocked" locks no token. The decoded pictures are compared
outside the mask with the source, inside with the target.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw, ImageFont

import jaxedit
from jaxedit import rng
from jaxedit.checkpoints.pretrained import load_pretrained
from jaxedit.config import DataConfig
from jaxedit.data.loader import held_out_pairs
from jaxedit.models.bsq import BSQTokenizer
from jaxedit.ops import image, quantize
from jaxedit.sampling.lock import BitLock, cells_in

BATCH, ERRORS = 50, (0.0, 0.1, 0.2, 0.3)
WORDS, REGION = "make the ball blue", (4, 136, 124, 252)  # of the scene: left, top, right, bottom
GAP, TEXT = 12, 24  # pixels between pictures, and above them


def main() -> None:
    """Print the table and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="toy-varedit")
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--output", default="docs/masks.png")
    args = parser.parse_args()
    if args.pairs:
        measure(args.model, args.pairs)
    draw(args.output)


def measure(model: str, count: int) -> None:
    """Print the PSNR of both rules, and of the source and the target through the tokenizer."""
    config, params, _ = load_pretrained(model, ["bsq"])
    c, pairs = config.varedit, held_out_pairs(DataConfig(), count)

    @jax.jit
    def decode(
        source: jax.Array, target: jax.Array, mask: jax.Array, errors: float
    ) -> dict[str, jax.Array]:
        bsq = BSQTokenizer(config.bsq)
        raw, wanted = (
            bsq.apply({"params": params["bsq"]}, image.to_float(x), method="encode")
            for x in (source, target)
        )
        editable = tuple(cells_in(mask, size) for size in c.scales)
        own, _ = quantize.encode_scales(raw, c.latent_scales)
        features = {name: jnp.zeros_like(raw) for name in ("own", "running", "unlocked")}
        keys = jax.random.split(rng.key_for(0, "bits"), len(c.scales))
        for k, size in enumerate(c.latent_scales):
            for name, feature in features.items():
                bits = quantize.residual_bits(wanted, feature, size, c.patchify)
                bits ^= jax.random.bernoulli(keys[k], errors, bits.shape)
                if name == "running":
                    lock = BitLock(raw, editable)
                    bits = lock.keep(bits[:, None], feature[:, None], None, k, size, c.patchify)[
                        :, 0
                    ]
                elif name == "own":
                    kept = quantize.to_tokens(own[k], c.patchify)
                    bits = jnp.where(editable[k][..., None], bits, kept)
                features[name] = quantize.accumulate(
                    feature, bits, size, c.latent_scales[-1], c.patchify
                )
        return {
            name: image.to_uint8(bsq.apply({"params": params["bsq"]}, f, method="decode"))
            for name, f in features.items()
        }

    print("| bits inverted | rule | pairs | outside, dB | inside, dB |\n|---|---|---|---|---|")
    for errors in ERRORS:
        scores: dict[str, list[tuple[float, float]]] = {}
        for start in range(0, count, BATCH):
            part = pairs[start : start + BATCH]
            arrays = [np.stack([getattr(p, n) for p in part]) for n in ("source", "target", "mask")]
            for name, pixels in decode(*arrays, errors).items():
                for found, source, target, mask in zip(np.asarray(pixels), *arrays, strict=True):
                    if mask.any() and not mask.all():
                        pair = psnr(found[~mask], source[~mask]), psnr(found[mask], target[mask])
                        scores.setdefault(name, []).append(pair)
        for name, values in scores.items():
            outside, inside = np.mean(values, axis=0)
            print(f"| {errors:.0%} | {name} | {len(values)} | {outside:.2f} | {inside:.2f} |")


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of u8 values in dB, at most 60."""
    error = np.mean((a.astype(float) - b) ** 2)
    return float(min(60, 10 * np.log10(255**2 / max(error, 1e-9))))


def draw(output: str) -> None:
    """Write source, mask, edit without a mask and edit with it, of both bundled editors."""
    scene = Image.open("jaxedit/assets/scene.png").convert("RGB")
    mask = Image.new("L", scene.size)
    ImageDraw.Draw(mask).ellipse(REGION, fill=255)
    rows = []
    for name, options in (("toy-varedit", {}), ("toy-editar", {"fit": "pad"})):
        editor = jaxedit.Editor.from_pretrained(name)
        free = editor.edit(scene, WORDS, **options).image
        kept = editor.edit(scene, WORDS, mask=mask, **options).image
        titles = ("source", "mask", f"{name}", f"{name}, masked")
        rows.append(list(zip((scene, mask, free, kept), titles, strict=True)))
    w, h = scene.width + GAP, scene.height + TEXT
    sheet = Image.new("RGB", (w * len(rows[0]) - GAP, h * len(rows)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for y, row in enumerate(rows):
        for x, (picture, title) in enumerate(row):
            pen.text((x * w, y * h + 4), title, fill="black", font=font)
            sheet.paste(picture.convert("RGB"), (x * w, y * h + TEXT))
    sheet.save(output)
    print(f"wrote {output}")


if __name__ == "__main__":
    main()
