"""Serve edits in replicas of Ray Serve, each with a GPU of its own.

    pip install 'jaxedit[serve]' 'ray[serve]'
    serve run launch.serve_ray:app --route-prefix=/

Change the model and the settings below, and num_gpus to 0 for replicas on CPUs. Every replica is a
whole server with its own queue, and gets edits once its model is loaded and compiled.
"""

from ray import serve

from jaxedit.config import ServeConfig
from jaxedit.serve.app import create_app
from jaxedit.serve.service import EditService

MODELS = ("toy-varedit",)
CONFIG = ServeConfig(max_batch=4)


def new_app():
    """Return the application of a replica, whose first model is ready."""
    service = EditService(CONFIG, MODELS)
    service.start()
    service.warm_up.result()
    return create_app(service)


@serve.deployment(
    num_replicas=2,
    max_ongoing_requests=CONFIG.max_queue,
    graceful_shutdown_timeout_s=CONFIG.timeout,
    ray_actor_options={"num_gpus": 1},
)
@serve.ingress(new_app)
class Replica:
    """A server; Ray calls `new_app` in the replica's process."""


app = Replica.bind()
