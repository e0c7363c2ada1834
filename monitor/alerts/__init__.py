"""What people do about alerts: groups of repeats, their life, mutes, and what closing teaches the models."""
