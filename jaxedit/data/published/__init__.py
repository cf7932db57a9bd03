"""Published data sets in their own layouts on disk."""
