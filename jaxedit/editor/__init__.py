"""The front door: pictures and instructions in, edited pictures out, for every kind of model."""
