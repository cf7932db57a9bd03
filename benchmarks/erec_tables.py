"""ERec's tables on held-out toybox edits, as a Markdown page with plots.

    python benchmarks/erec_tables.py --model toy-editar --pairs 300 --out docs

Each setting of noise and top-k is decoded once; all refinements start from its tokens and maps.
Background scores compare with the source outside the true edit mask; success is the verdict of the
toybox's exact checker. The page is OUT/erec_tables.md. The same command goes on after a stop.
"""

import argparse
import dataclasses
import itertools
import pathlib
import time
from typing import Any, NamedTuple

import erec_report
import jax
import jax.numpy as jnp
import numpy as np
from erec_plan import GRID, Setting, every_k, paper_k, plan
from erec_scores import Costs, Page, Score, Signals, score
from tqdm import tqdm

from jaxedit import compile_cache, tree
from jaxedit.checkpoints.pretrained import CONFIG, load_pretrained
from jaxedit.checkpoints.shards import WEIGHTS
from jaxedit.config import DataConfig, ERecConfig
from jaxedit.data import toybox
from jaxedit.data.loader import held_out_pairs
from jaxedit.data.text_tokenizer import TextTokenizer
from jaxedit.editor import provenance
from jaxedit.erec import dual_path, restore
from jaxedit.erec.edit_mask import Maps, split
from jaxedit.erec.panel import PanelInputs, panel
from jaxedit.sampling import sample_editar
from jaxedit.sampling.text_encoder import encode_text

TRIALS = 10  # of each timing
DECODING = ("noise", "direct_replacement")  # settings that need a decoding of their own


class Chunk(NamedTuple):
    """Some pairs on the device: pixels u8[B,S,S,3]; text, mask [B,2,T,...]; seeds."""

    pixels: jax.Array
    source: sample_editar.EncodedSource
    decoded: jax.Array
    text: jax.Array
    mask: jax.Array
    seeds: jax.Array


class Bench:
    """A model, pairs, and what has been decoded so far."""

    def __init__(self, args: argparse.Namespace) -> None:
        """Load the model, draw the pairs, and read all sources, `args.batch` at a time.

        What has been decoded is kept in `args.work`, so that a run that is cut off can go on.
        """
        seed, level, pairs, batch = args.seed, args.level, args.pairs, args.batch
        networks = ("vq", "transformer", "null", "t5")
        self.config, params, directory = load_pretrained(args.model, networks)
        sample = self.config.token_sample
        sample.temperature = args.temperature or sample.temperature
        self.networks = jax.device_put(sample_editar.prepare(self.config, params, "float32"))
        self.t5 = jax.device_put(tree.cast(params["t5"], "float32"))
        data = DataConfig(level=level, image_size=toybox.LEVELS[level].image_size, seed=seed)
        self.pairs = held_out_pairs(data, pairs)
        self.tokenizer = TextTokenizer.load(directory)
        self.chunks = [self._chunk(i, i + batch) for i in range(0, pairs, batch)]
        self.bar = tqdm(unit="chunk", leave=False)
        hashes = [provenance.sha256(directory / name)[:8] for name in (WEIGHTS, CONFIG)]
        settings = (level, seed, pairs, batch, sample.temperature)
        self.work = args.work / "-".join([*hashes, *map(str, settings)])
        self.work.mkdir(parents=True, exist_ok=True)
        self._paths: dict[Any, list[dual_path.Paths]] = {}
        self._scores: dict[Any, Score] = {}

    def sample(self, top_k: int) -> Any:
        """The model's sampling with another top-k."""
        return dataclasses.replace(self.config.token_sample, top_k=top_k)

    def alone(self, top_k: int) -> np.ndarray:
        """Tokens i32[n,N] of EditAR alone."""
        tokens = []
        for c in self.chunks:
            self.bar.update()
            rest = {"sample": self.sample(top_k), **self._rest}
            tokens.append(
                sample_editar.edit(
                    self.networks, c.source, c.text[:, 1:], c.mask[:, 1:], c.seeds, **rest
                )
            )
        return np.concatenate(tokens)

    def decode(self, top_k: int, erec: ERecConfig) -> list[dual_path.Paths]:
        """Both paths of every chunk."""
        key = self._decoding(top_k, erec)
        if key not in self._paths:
            chunks = range(len(self.chunks))
            self._paths[key] = [self._decode(i, key, top_k, erec) for i in chunks]
        return self._paths[key]

    def refine(self, top_k: int, erec: ERecConfig) -> restore.Refined:
        """Refined edits of all pairs, numpy."""
        found = []
        for chunk, paths in zip(self.chunks, self.decode(top_k, erec), strict=True):
            found.append(self._refine(chunk, paths, erec))
            self.bar.update()
        return restore.Refined(*(np.concatenate(x) for x in zip(*found, strict=True)))

    def expect(self, settings: list[Setting]) -> None:
        """Tell the progress bar how much work they are."""
        full = {(s.top_k, dataclasses.replace(self.config.erec, **s.changes)) for s in settings}
        decodings = {self._decoding(*setting) for setting in full}
        self.bar.reset(len(self.chunks) * (len(full) + len(decodings) + 1))

    def score(self, top_k: int, changes: dict[str, Any]) -> Score:
        """Scores of all pairs under the model's ERec settings with `changes`."""
        erec = dataclasses.replace(self.config.erec, **changes)
        if (top_k, erec) not in self._scores:
            refined = self.refine(top_k, erec)
            area = refined.mask.mean((1, 2)) if erec.refine else np.full(len(self.pairs), np.nan)
            self._scores[top_k, erec] = score(self.pairs, refined.pixels, area)
        return self._scores[top_k, erec]

    def signals(self, top_k: int, noise: str) -> Signals:
        """Return means of the maps inside and outside the true mask, where there is an outside."""
        erec = dataclasses.replace(self.config.erec, noise=noise)
        paths = self.decode(top_k, erec)
        rec, tokens = (
            np.concatenate([getattr(p, name) for p in paths]) for name in ("rec", "edit")
        )
        maps = [
            np.concatenate(m).reshape(len(tokens), -1)
            for m in zip(*(p.maps for p in paths), strict=True)
        ]
        g, stride = self.config.editar.grid, self.config.vq.stride
        cells = np.stack([p.mask.reshape(g, stride, g, stride) for p in self.pairs])
        changed = cells.mean((2, 4)).reshape(len(tokens), -1)
        return Signals(
            *(
                np.array([values[where].mean() for values in (rec == tokens, *maps)])
                for where in (changed == 0, changed > 0.5)
            )
        )

    def costs(self, top_k: int) -> Costs:
        """Seconds of one edit from pixels to pixels, by EditAR and by ERec in turn."""
        first = jax.tree.map(lambda x: x[:1], self.chunks[0])
        times: dict[str, list[tuple[float, float]]] = {"editar": [], "erec": []}
        for trial in range(TRIALS + 1):  # the first one compiles
            for method, seconds in times.items():
                wall, cpu = time.perf_counter(), time.process_time()
                jax.block_until_ready(self._whole(first, method, top_k))
                if trial:
                    seconds.append((time.perf_counter() - wall, time.process_time() - cpu))
        return Costs(*(np.array(x) for x in times.values()))

    def _whole(self, c: Chunk, method: str, top_k: int) -> Any:
        source = sample_editar.read_source(self.networks, c.pixels, config=self.config)
        rest = {"sample": self.sample(top_k), **self._rest}
        if method == "editar":
            tokens = sample_editar.edit(
                self.networks, source, c.text[:, 1:], c.mask[:, 1:], c.seeds, **rest
            )
            return sample_editar.draw(self.networks.vq, tokens, config=self.config)
        erec = self.config.erec
        paths = dual_path.decode(self.networks, source, c.text, c.mask, c.seeds, erec=erec, **rest)
        thresholds, erec = split(erec)
        given = (self.networks.vq, c.pixels, source.codes, paths, thresholds)
        return restore.refine(*given, erec=erec, config=self.config).pixels

    def view(self, index: int, top_k: int) -> PanelInputs:
        """Return the pictures that the panel shows of a pair."""
        i, row = divmod(index, len(self.chunks[0].seeds))
        erec, paths = self.config.erec, self.decode(top_k, self.config.erec)[i]
        refined = self._refine(self.chunks[i], paths, erec)
        pictures = [
            np.asarray(sample_editar.draw(self.networks.vq, x[row : row + 1], config=self.config))[
                0
            ]
            for x in (paths.rec, paths.edit)
        ]
        maps = jax.tree.map(lambda m: m[row], paths.maps)
        pictures = (self.pairs[index].source, *pictures, refined.pixels[row])
        return PanelInputs(*pictures, maps.nll_rec, maps.nll_edit, maps.js, refined.mask[row])

    def _decode(self, i: int, key: tuple, top_k: int, erec: ERecConfig) -> dual_path.Paths:
        self.bar.update()
        file, names = self.work / f"{'-'.join(map(str, (*key, i)))}.npz", ("rec", "edit")
        if not file.exists():
            c, rest = self.chunks[i], {"sample": self.sample(top_k), "erec": erec, **self._rest}
            paths = dual_path.decode(self.networks, c.source, c.text, c.mask, c.seeds, **rest)
            arrays = {name: getattr(paths, name) for name in names} | paths.maps._asdict()
            np.savez(file.with_suffix(".part.npz"), **jax.device_get(arrays))
            file.with_suffix(".part.npz").rename(file)
        with np.load(file) as stored:
            maps = Maps(*(stored[name] for name in Maps._fields))
            return dual_path.Paths(*(stored[name] for name in names), maps)

    def _refine(self, c: Chunk, paths: dual_path.Paths, erec: ERecConfig) -> restore.Refined:
        thresholds, rest = split(erec)
        given = (self.networks.vq, c.pixels, c.source.codes, paths, thresholds)
        rest = {"erec": rest, "config": self.config, "decoded": c.decoded}
        return jax.device_get(restore.refine(*given, **rest))

    @staticmethod
    def _decoding(top_k: int, erec: ERecConfig) -> tuple:
        return (top_k, *(getattr(erec, name) for name in DECODING))

    @property
    def _rest(self) -> dict[str, Any]:
        return {"config": self.config, "segment": self.config.editar.image_tokens}

    def _chunk(self, start: int, stop: int) -> Chunk:
        pairs = self.pairs[start:stop]
        pixels = jnp.asarray(np.stack([p.source for p in pairs]))
        source = sample_editar.read_source(self.networks, pixels, config=self.config)
        words = [[self.config.erec.recon_prompt, p.instruction] for p in pairs]
        ids, mask = self.tokenizer(sum(words, []), self.config.editar.text_tokens)
        text = encode_text(self.t5, ids, mask, config=self.config.t5, dtype="float32")
        text, mask = (x.reshape(len(words), 2, *x.shape[1:]) for x in (text, mask))
        decoded = restore.draw_tokens(self.networks.vq, source.codes, config=self.config)
        return Chunk(pixels, source, decoded, text, mask, jnp.arange(start, start + len(pairs)))


def measure(bench: Bench) -> Page:
    """All rows of all tables."""
    config, tables = bench.config, plan(bench.config)
    settings = [s for table in tables.values() for s in table.values()]
    main, ablation, _ = top_k = paper_k(config.editar.codes)
    bench.expect(settings)
    scores = {
        name: {row: bench.score(*setting) for row, setting in table.items()}
        for name, table in tables.items()
    }
    alone = bench.alone(main)
    both = np.concatenate([p.edit for p in bench.decode(main, config.erec)])
    return Page(
        tables=scores,
        ks=every_k(config.editar.codes),
        top_k=top_k,
        agreement=float((alone == both).all(axis=1).mean()),
        signals={noise: bench.signals(ablation, noise) for noise in ("shared", "independent")},
        costs=bench.costs(main),
        config=config,
    )


def tune(bench: Bench) -> str:
    """Scores of a grid of thresholds, the best first."""
    top_k, names = bench.config.token_sample.top_k, ("success", "edited", "psnr")
    found = []
    for js, low, high in itertools.product(*GRID.values()):
        score = bench.score(top_k, {"tau_js": js, "tau_low": low, "tau_high": high})
        found.append(([score.mean(name) for name in names], (js, low, high)))
    lines = ["  ".join([*names, *GRID])]
    for scores, taus in sorted(found, reverse=True):
        lines.append("  ".join([f"{x:.3f}" for x in scores] + [f"{x:g}" for x in taus]))
    return "\n".join(lines)


def main() -> None:
    """Measure, and write the page or the grid."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="toy-editar")
    parser.add_argument("--pairs", type=int, default=300, help="a multiple of --batch")
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--level", type=int, default=0, choices=range(len(toybox.LEVELS)))
    parser.add_argument("--seed", type=int, default=1, help="of the pairs; 0 was used for tuning")
    parser.add_argument("--temperature", type=float, help="default: the model's; the paper's is 1")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("docs"))
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("runs/erec_tables"))
    parser.add_argument("--tune", action="store_true", help="try thresholds instead")
    args = parser.parse_args()
    if args.pairs % args.batch:
        parser.error(f"--pairs={args.pairs}: expected a multiple of --batch={args.batch}")
    compile_cache.enable()
    start = time.perf_counter()
    bench = Bench(args)
    if args.tune:
        print(tune(bench))
        return
    page = measure(bench)
    args.out.mkdir(parents=True, exist_ok=True)
    area = page.tables["main"]["ERec"].area
    i = int(np.argmax((area > 0) & (area < 0.5)))  # the first local edit that has a mask
    shown = panel(bench.view(i, page.top_k[0]), bench.config.erec, bench.pairs[i].instruction)
    shown.save(args.out / "erec_panel.png")
    command = f"--model {args.model} --level {args.level} --pairs {args.pairs} --seed {args.seed}"
    if args.temperature:
        command += f" --temperature {args.temperature:g}"
    erec_report.write(args.out, page, command, time.perf_counter() - start)
    print(f"wrote {args.out / 'erec_tables.md'} in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
