"""Another name of `python -m jaxedit.datasets.encode`, beside the store that it adds codes to."""

import runpy

if __name__ == "__main__":
    runpy.run_module("jaxedit.datasets.encode", run_name="__main__")
