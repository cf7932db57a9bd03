"""A custom node of ComfyUI that edits pictures by a jaxedit server."""

from .node import JaxEdit

NODE_CLASS_MAPPINGS = {"JaxEdit": JaxEdit}
NODE_DISPLAY_NAME_MAPPINGS = {"JaxEdit": "Edit by instruction (jaxedit)"}
