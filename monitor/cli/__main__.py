"""Lets `python -m monitor.cli` stand for `killcord`."""

import sys

from monitor.cli.main import main

sys.exit(main())
