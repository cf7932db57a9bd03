"""Published data sets to stores that training reads."""
