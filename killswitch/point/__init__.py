"""The inside of one enforcement point: what it knows, how it judges, and how it keeps up with the store."""
