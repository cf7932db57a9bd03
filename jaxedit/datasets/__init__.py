"""Published data sets: readers of their layouts, conversion to stores, and filters of rows."""
