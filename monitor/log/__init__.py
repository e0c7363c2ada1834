"""The durable log: segments on disk, group commit, the entries they hold, and checkpoints beside them."""
