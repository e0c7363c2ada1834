"""The daemon's side of the kill switch: the store it runs or uses, and the thread that writes kills."""
