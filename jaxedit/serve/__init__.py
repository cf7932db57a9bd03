"""A server for edits: OpenAI's images API over batches of a model's compiled programs."""
