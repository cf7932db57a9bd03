"""Serve edits over HTTP: a page, and OpenAI's images API.

    python -m jaxedit.serve --model=toy-varedit
    python -m jaxedit.serve --model=models/2b --model=models/editar --max_batch=4 --max_loaded=1
    python -m jaxedit.serve --host=0.0.0.0 --port=80 --api_key_file=keys.txt --rate_limit=60

    curl http://127.0.0.1:8000/v1/images/edits -F image=@photo.jpg -F prompt="make it snow"

It serves a page at /, and answers POST /v1/images/edits, GET /v1/models, /health, /ready, /metrics
and /docs; docs/serve.md describes them. SIGTERM and Ctrl-C end it once all edits that were asked
for are made.
Exit codes: 0 done; 2 bad input.
"""

from collections.abc import Sequence

from jaxedit import console
from jaxedit.console import exit_code
from jaxedit.serve import options


def main(argv: Sequence[str]) -> int:
    """Run the command; return the exit code."""
    return exit_code(lambda: _run(options.parse(list(argv), __doc__)))


def _run(given: options.Options) -> int:
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise OSError(
            f"serving needs more packages: pip install 'jaxedit[serve]' ({error})"
        ) from error
    from jaxedit.serve.server import serve

    return serve(*given)


def run() -> None:
    """Run the command `jaxedit serve`."""
    console.run(main)


if __name__ == "__main__":
    run()
