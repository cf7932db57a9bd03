"""The layout of DESIGN: modules import only from lower floors, and heavy packages stay lazy."""

import ast
import graphlib
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
FLOORS = [
    {"commands", "config", "console", "interactive", "progress", "warn_once", "__version__"},
    {
        "rng",
        "tree",
        "ops",
        "compile_cache",
        "compile_times",
        "assets",
        "atomic_write",
        "chat",
        "config_file",
        "engines",
        "file_lock",
        "host_memory",
    },
    {"sharding", "nn"},
    {"models"},
    {"planning"},
    {"sampling", "erec", "data", "checkpoints"},
    {"datasets", "convert"},
    {"editor"},
    {"evaluate"},
    {"analyse"},
    {"serve", "train", "cache"},
    # configs, below, are data: the training command looks them up
    {"__main__", "__init__", "generate"},
]
FLOOR = {"configs": 0} | {name: floor for floor, names in enumerate(FLOORS) for name in names}
# A pretrained directory carries its text tokenizer; ERec decodes with EditAR's sampler.
# Layers lay out kernels on the mesh.
SAME_FLOOR = {
    ("checkpoints", "data"),
    ("compile_cache", "compile_times"),
    ("compile_times", "atomic_write"),
    ("erec", "sampling"),
    ("nn", "sharding"),
}
HEAVY = ("jax", "orbax", "grain", "transformers", "tensorflow", "torch", "tqdm", "absl")
MODULES = sorted(ROOT.glob("jaxedit/**/*.py"))


def dotted(path: pathlib.Path) -> str:
    """The name under which a file is imported."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


NAMES = {dotted(path) for path in MODULES}


def part_of(module: str) -> str:
    """The top-level part of jaxedit that a dotted module name belongs to."""
    names = module.split(".")
    return names[1] if len(names) > 1 else "__init__"


def imports_of(path: pathlib.Path) -> list[tuple[str, int]]:
    """Dotted names of all jaxedit modules that a file imports, with line numbers."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                is_module = name in NAMES or node.module == "jaxedit"
                found.append((name if is_module else node.module, node.lineno))
    return [(name, line) for name, line in found if name.split(".")[0] == "jaxedit"]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down(path):
    part = part_of(dotted(path))
    if path.name == "__main__.py":
        part = "__main__"
    for name, line in imports_of(path):
        other = part_of(name)
        allowed = part == other or FLOOR[other] < FLOOR[part] or (part, other) in SAME_FLOOR
        assert allowed, f"{path.name}:{line}: {part} may not import {other}"


def test_no_imports_in_a_circle():
    """Not even inside functions, but for the front door, which loads the editor when asked."""
    graph = {
        dotted(path): {name for name, _ in imports_of(path)}
        for path in MODULES
        if dotted(path) != "jaxedit"
    }
    graphlib.TopologicalSorter(graph).prepare()  # its CycleError names the modules


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_are_short(path):
    assert len(path.read_text().splitlines()) <= 350


def test_random_keys_come_from_one_file():
    for path in MODULES:
        if path.name != "rng.py":
            assert "random.key(" not in path.read_text(), path
            assert "PRNGKey" not in path.read_text(), path


@pytest.mark.parametrize("path", [p for p in MODULES if p.name == "__main__.py"], ids=dotted)
def test_commands_define_no_classes(path):
    """Processes that an engine starts cannot import them from there."""
    assert not [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ClassDef)]


@pytest.mark.parametrize(
    "command",
    [
        "import jaxedit",
        "import jaxedit.__main__",
        "import jaxedit.editor.__main__",
        "import jaxedit.cache.__main__",
        "import jaxedit.train.__main__",
        "import jaxedit.generate.__main__",
        "import jaxedit.convert.__main__",
        "import jaxedit.datasets.convert.__main__",
        "import jaxedit.datasets.encode.__main__",
        "import jaxedit.datasets.near_duplicates.__main__",
        "import jaxedit.datasets.vlm_filter.__main__",
        "import jaxedit.evaluate.tables.__main__",
        "import jaxedit.analyse.__main__",
        "import jaxedit.serve.__main__",
    ],
)
def test_heavy_packages_are_lazy(command):
    code = f"{command}, sys; print([m for m in {HEAVY} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert out.stdout.strip() == "[]", out.stdout + out.stderr


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_text_files_are_utf_8_in_every_locale(path):
    for call in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(call, ast.Call) or "/models/" in str(path):  # read_text of a model
            continue
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        modes = [a.value for a in call.args if isinstance(a, ast.Constant)]
        is_text = name in ("read_text", "write_text") or (
            name == "open"
            and not any(isinstance(m, str) and "b" in m for m in modes)
            and ast.unparse(call.func) not in ("Image.open", "tarfile.open", "os.open")
        )
        has_encoding = "utf-8" in modes or any(k.arg == "encoding" for k in call.keywords)
        assert not is_text or has_encoding, f"{path}:{call.lineno}: {ast.unparse(call)}"
