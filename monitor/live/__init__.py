"""The live feed: messages on disk before anyone sees them, fanned out to bounded readers."""
