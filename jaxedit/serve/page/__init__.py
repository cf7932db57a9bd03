"""The server's page: a photo, a mask drawn on it, an instruction, and the edits."""
