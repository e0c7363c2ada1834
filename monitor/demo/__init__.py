"""A simulated fleet of agents, a process each, and the story that `killcord demo` tells with them."""
