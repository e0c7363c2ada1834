"""A program of several processes: ``family.py KIND DIRECTORY``. Each counts in a file named after its process id.

``three``: parent, child, and a grandchild in a session of its own that ignores SIGTERM. ``orphan``: a daemon by double
fork; its parents end at once. ``forks``: once ``DIRECTORY/go`` is there, 30 children, one after another. ``polite``:
ends with status 9 on SIGTERM. ``stubborn``: ignores SIGTERM. ``headless``: its first thread ends, another counts on.
"""

import os
import signal
import sys
import time

KIND, DIRECTORY = sys.argv[1:]


def count() -> None:
    path = os.path.join(DIRECTORY, str(os.getpid()))
    number = 0
    while True:
        number += 1
        with open(path + ".new", "w") as file:
            file.write(str(number))
        os.rename(path + ".new", path)
        time.sleep(0.002)


def ignore_terminate() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def three() -> None:
    if os.fork() == 0 and os.fork() == 0:
        os.setsid()
        ignore_terminate()
    count()


def orphan() -> None:
    if os.fork() == 0:
        if os.fork() == 0:
            os.setsid()
            count()
        os._exit(0)
    os.wait()


def forks() -> None:
    while not os.path.exists(os.path.join(DIRECTORY, "go")):
        time.sleep(0.001)
    for _ in range(30):
        if os.fork() == 0:
            count()
        time.sleep(0.0005)
    count()


def polite() -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(9))
    count()


def stubborn() -> None:
    ignore_terminate()
    count()


def headless() -> None:
    import ctypes
    import threading

    threading.Thread(target=count).start()
    ctypes.CDLL(None).syscall(60, 0)  # exit of this thread alone, on x86-64


globals()[KIND]()
