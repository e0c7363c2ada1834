"""Stopping what runs in other processes: a program and all that it started, under supervision."""
