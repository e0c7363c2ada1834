"""An enforcement point as a program: ``point.py URL PREFIX LEASE_S``; one command a line, one answer a line."""

import sys

from killswitch import Guard, Refused


def main() -> None:
    url, prefix, lease_s = sys.argv[1:]
    guard = Guard.connect(url, prefix=prefix, lease_s=float(lease_s))
    print(guard.status().name, flush=True)
    for line in sys.stdin:
        command, _, agent = line.strip().partition(" ")
        if command == "check":
            try:
                guard.check(agent=agent)
                print("allowed", flush=True)
            except Refused as refused:
                print(f"{type(refused).__name__} {refused}", flush=True)
        elif command == "close":
            guard.close()
            print("closed", flush=True)


main()
