"""What comes in: an action as it is sent, what is kept of it, and what is done with those that are refused."""
