"""Pure Merkle mathematics: the tree, signed notes, checkpoints, tiles, inclusion bundles."""
