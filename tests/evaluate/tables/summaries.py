"""Folders of results, as `python -m jaxedit.evaluate` writes them."""

import json

PIE_SCORES = {
    "structure_distance": 0.02652,
    "psnr_background": 26.634,
    "lpips_background": 0.0765,
    "mse_background": 0.007524,
    "ssim_background": 0.882,
    "clip_whole": 24.13,
    "clip_edited": 21.44,
}


def mean(value, types=(), **counts):
    found = {"mean": value, "mean_finite": value, "n": 700, "n_nan": 0, "n_inf": 0} | counts
    return found | {"types": {name: mean(v) for name, v in dict(types).items()}}


def write(folder, scores, benchmark="pie-bench", samples=700, edits="editar-512", **settings):
    """Write a summary; a number in place of a score is its mean."""
    folder.mkdir(parents=True)
    given = {name: v if isinstance(v, dict) else mean(v) for name, v in scores.items()}
    summary = {
        "benchmark": benchmark,
        "edits": edits,
        "samples": samples,
        "missing": [],
        "scores": given,
        "settings": {"jaxedit": "1", "sha256 of lpips": folder.name, **settings},
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def write_judged(folder, pairs, prefix="gpt", **options):
    """Write a summary and the scores of each edit, given success and over."""
    scores = {
        f"{prefix}_{name}": mean(sum(values) / len(pairs), {"add": sum(values) / len(pairs)})
        for name, values in zip(("suc", "over"), zip(*pairs, strict=True), strict=True)
    }
    write(folder, scores | {f"{prefix}_bal": mean(5.0, {"add": 4.0})}, **options)
    rows = [
        {"key": str(i), "scores": {f"{prefix}_suc": s, f"{prefix}_over": o}}
        for i, (s, o) in enumerate(pairs)
    ]
    (folder / "per_sample.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder
