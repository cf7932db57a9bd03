"""The old name of `python -m jaxedit.datasets.near_duplicates`, kept for one release."""

import runpy

if __name__ == "__main__":
    runpy.run_module("jaxedit.datasets.near_duplicates", run_name="__main__")
