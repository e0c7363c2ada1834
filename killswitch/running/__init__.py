"""Stopping what already runs in this process: tasks, threads, streams."""
