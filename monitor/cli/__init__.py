"""The `killcord` command. Exit status: 0 done, 1 refused or not contained, 2 usage, 3 cannot reach."""

from monitor.cli.main import main

__all__ = ["main"]
