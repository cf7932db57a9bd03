"""The device mesh, the sharding of arrays over it, and runs of several processes."""
