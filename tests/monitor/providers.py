"""A real OpenID Connect provider over HTTP, for tests."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the provider's own libraries, on import
    import oidc_provider_mock
    from oidc_provider_mock._server import _threaded_server


def provider_of(groups: Mapping[str, list[str]], **options: Any) -> Any:
    """Return a provider as a WSGI application; `groups`: the groups of each person, by name."""
    users = tuple(
        oidc_provider_mock.User(sub=name, claims={"email": f"{name}@example.com", "groups": groups[name]})
        for name in groups
    )
    return oidc_provider_mock.app(user_claims=users, **options)


@contextmanager
def serve(application: Any) -> Iterator[str]:
    """Serve a provider on a free port; gives its issuer."""
    with _threaded_server(application) as server:
        yield f"http://localhost:{server.server_port}"
