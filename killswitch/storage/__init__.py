"""The revocations in Redis: how they are laid out, read, written, followed, and kept while it is away."""
