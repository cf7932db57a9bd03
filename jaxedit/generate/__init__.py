"""Pictures from texts and classes, by the base models."""
