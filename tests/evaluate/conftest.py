"""A local server of a chat model."""

from chat_server import server

__all__ = ["server"]
