"""The site of this documentation: `sphinx-build -W docs build/docs`.

Sphinx with the book theme and MyST is what JAX, Flax, Optax and Orbax use, so that links to their
pages and objects work.
"""

import os

import jaxedit

project, author, release = "jaxedit", "the jaxedit founders", jaxedit.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinxcontrib.mermaid",
]
myst_fence_as_directive = ["mermaid"]  # as GitHub draws them
html_theme = "sphinx_book_theme"
html_title = "jaxedit"
html_theme_options = {
    "repository_url": "https://github.com/jaxedit/jaxedit",
    "use_repository_button": True,
}
default_role = "code"  # of names between single backticks in docstrings
myst_heading_anchors = 3  # links to headings, with the anchors that GitHub gives them
autodoc_default_options = {"members": True, "show-inheritance": True, "special-members": "__init__"}
autoclass_content = "class"
autodoc_member_order = "bysource"
napoleon_attr_annotations = True
# Inventories are fetched from the network: machines without one set JAXEDIT_DOCS_OFFLINE.
intersphinx_mapping = (
    {}
    if "JAXEDIT_DOCS_OFFLINE" in os.environ
    else {
        "python": ("https://docs.python.org/3", None),
        "jax": ("https://docs.jax.dev/en/latest", None),
        "numpy": ("https://numpy.org/doc/stable", None),
    }
)
