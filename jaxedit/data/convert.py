"""The old name of `python -m jaxedit.datasets.convert`, kept for one release."""

import runpy

if __name__ == "__main__":
    runpy.run_module("jaxedit.datasets.convert", run_name="__main__")
