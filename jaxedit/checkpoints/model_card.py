"""The model card of a pretrained directory: its content, its origin and its use."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from huggingface_hub import ModelCard, ModelCardData

from jaxedit import __version__
from jaxedit.checkpoints.lazy_tensor import Shape
from jaxedit.config import PretrainedConfig, WeightSource, family_of

# (purpose, reads) of a family -> the Hub's name of that task
TAGS = {("draw", "text"): "text-to-image", ("draw", "class"): "unconditional-image-generation"}


def model_card(
    name: str,
    config: PretrainedConfig,
    shapes: Mapping[str, Shape],
    dtypes: Mapping[str, np.dtype],
    sources: Sequence[WeightSource] = (),
) -> str:
    """Return the text of README.md, with the header that the Hub reads.

    Args:
      shapes: of all parameters, by path.
      dtypes: of all parameters in the files.
      sources: the files that the weights were converted from; none: trained here.
    """
    family = family_of(config)
    licences = [s.licence if " " not in s.licence else "other" for s in sources]
    data = ModelCardData(
        library_name="jaxedit",
        pipeline_tag=TAGS.get((family.purpose, family.reads), "image-to-image"),
        license=list(dict.fromkeys(licences)) or None,
        base_model=list(dict.fromkeys(s.repo for s in sources if s.repo)) or None,
    )
    text = f"""# {name}

A `{config.model_type}` model, written by jaxedit {__version__}. `config.json` holds every setting.

{_table(shapes, dtypes)}

{_origin(sources)}```
{how_to_use(name, config)}
```
"""
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}"))


def how_to_use(name: str, config: PretrainedConfig) -> str:
    """Return commands and Python that use the weights in the directory `name`."""
    family = family_of(config)
    uses = {
        "edit": 'python -m jaxedit photo.jpg "make it snow" --model={name}\n'
        'jaxedit.Editor.from_pretrained("{name}").edit("photo.jpg", "make it snow")',
        "draw": "python -m jaxedit.generate --model={name} {prompt}\n"
        'jaxedit.Generator.from_pretrained("{name}").generate({prompt})'
        + (family.use and f"\n{family.use}"),
        "": family.use or 'jaxedit.checkpoints.pretrained.load_pretrained("{name}")',
    }
    prompt = "207" if family.reads == "class" else '"a cat"'
    return uses[family.purpose].format(name=name, prompt=prompt)


def _table(shapes: Mapping[str, Shape], dtypes: Mapping[str, np.dtype]) -> str:
    """Return the networks with their numbers of parameters and dtypes, in Markdown."""
    networks: dict[str, list[str]] = {}
    for path in shapes:
        networks.setdefault(path.split("/")[0], []).append(path)
    lines = ["| network | parameters | dtype |", "| --- | ---: | --- |"]
    for network, paths in networks.items():
        count = sum(math.prod(shapes[path]) for path in paths)
        kinds = ", ".join(sorted({str(dtypes[path]) for path in paths}))
        lines.append(f"| {network} | {count:,} | {kinds} |")
    return "\n".join(lines)


def _origin(sources: Sequence[WeightSource]) -> str:
    """Return the list of sources, in Markdown; "" without sources."""
    lines = [f"- {s.kind}: {s.place} (licence: {s.licence})\n" for s in sources]
    intro = "Converted; the values differ from these files at most by their dtype:\n\n"
    return f"{intro}{''.join(lines)}\n" if sources else ""
