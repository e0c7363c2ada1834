"""Rehearsals: a canary is revoked and restored, and what every point did is kept as evidence."""
