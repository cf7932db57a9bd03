"""Published data sets: reading, converting, filtering."""
