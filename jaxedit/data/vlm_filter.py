"""The old name of `python -m jaxedit.datasets.vlm_filter`, kept for one release."""

import runpy

if __name__ == "__main__":
    runpy.run_module("jaxedit.datasets.vlm_filter", run_name="__main__")
