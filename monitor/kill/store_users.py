"""Who may do what in the revocation store: one user a role, the same in the embedded server and in compose.yaml.

The daemon and operators write revocations. A point reads them, says that it lives and how far it has come, and can
write nothing that other points follow: access as a point can neither restore an agent nor forge a kill. The auditor
only reads. Without a user's password nobody is anybody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final, Literal, get_args

User = Literal["daemon", "point", "auditor"]

USERS: Final[tuple[User, ...]] = get_args(User)

RULES: Final[dict[User, str]] = {
    "daemon": (
        "resetchannels &killcord:* resetkeys ~killcord:*"
        " -@all +@read +@write +@connection +@transaction +@pubsub +eval +time +waitaof +info +config|get"
        " -keys -flushall -flushdb"
    ),
    # Reading includes the signed head and the keyrings. The last bracket lets it publish acknowledgements and nothing
    # else: on killcord:changes it could tell other points anything.
    "point": (
        "resetchannels &killcord:changes &killcord:acks"
        " resetkeys %R~killcord:* ~killcord:points ~killcord:points:seen ~killcord:applied"
        " -@all +@connection +multi +exec +subscribe +unsubscribe +eval +time"
        " +get +hget +hmget +hgetall +hexists +xrange +xrevrange"
        " +hset +hdel +zadd +zrem +zcard +zrangebyscore"
        " (resetchannels &killcord:acks -@all +publish)"
    ),
    "auditor": (
        "resetchannels &killcord:* resetkeys %R~killcord:*"
        " -@all +@connection +@read +multi +exec +subscribe +unsubscribe +time -keys"
    ),
}
"""Each user's rights, in the words of `ACL SETUSER`, but for the password."""

NOBODY: Final = "user default off"
"""The line that shuts out whoever names no user."""


def config_lines(passwords: Mapping[User, str]) -> list[str]:
    """Return the server's configuration lines; they hold the passwords' hashes, not the passwords."""
    hashes = {user: hashlib.sha256(passwords[user].encode()).hexdigest() for user in USERS}
    return [NOBODY, *(f"user {user} on #{hashes[user]} {RULES[user]}" for user in USERS)]
