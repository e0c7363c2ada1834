"""Which enforcement points there are, what they confirm, and when a target counts as contained."""
