"""For all tests: how long an example takes says nothing on a shared machine, and the first one loads the kernel."""

from hypothesis import settings

settings.register_profile("killcord", deadline=None)
settings.load_profile("killcord")
