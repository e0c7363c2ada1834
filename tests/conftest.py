"""For all tests, wherever they run and however they were started."""

import signal

from hypothesis import settings

# How long an example takes says nothing on a shared machine, and the first one loads the kernel.
settings.register_profile("killcord", deadline=None)
settings.load_profile("killcord")

# A shell starts what runs in the background with SIGINT ignored, and so would every process that the tests start: a
# program that is to be ended with Ctrl-C could not be.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
