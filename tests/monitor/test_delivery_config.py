"""What may be said of routes, the secrets beside it, and the pure parts: waits, answers, what is muted."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import monitor.config
from monitor.config import parse_config
from monitor.delivery.backoff import MAX_RETRY_AFTER_S, Backoff
from monitor.delivery.events import event, is_wanted
from monitor.delivery.http_edge import judge, retry_after_s
from monitor.delivery.routes import RouteConfig
from monitor.delivery.sinks import open_sinks
from monitor.errors import ConfigError, DeliveryDelayed, DeliveryRefused
from monitor.live.filters import parse_filter
from tests.monitor.delivery_feed import KEY, alert, private
from tests.test_architecture import brings

HOOK = 'name = "hook"\nkind = "webhook"\nurl = "https://a.example/x"\nsecret_file = "/s"\n'


def refused(*routes: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse_config("".join(f"[[delivery.routes]]\n{route}\n" for route in routes))
    return caught.value


def test_a_route_is_read_with_its_defaults() -> None:
    (route,) = parse_config(f"[[delivery.routes]]\n{HOOK}").delivery.routes
    assert (route.since, route.filter, route.timeout_s) == ("now", "", 10.0)


@pytest.mark.parametrize(
    ("route", "field"),
    [
        (HOOK.replace("webhook", "fax"), "kind"),
        (HOOK.replace('"hook"', '"../hook"'), "name"),
        (HOOK.replace('"hook"', '""'), "name"),
        (HOOK.replace('url = "https://a.example/x"\n', ""), "url"),
        (HOOK.replace('secret_file = "/s"\n', ""), "secret_file"),
        (HOOK.replace("https://a.example/x", "ftp://a.example"), "url"),
        (HOOK.replace("https://a.example/x", "https://"), "url"),
        (HOOK.replace("https://a.example/x", "https://me:secret@a.example/"), "url"),
        (HOOK.replace("https://a.example/x", "https://a.example:99999/"), "url"),
        (HOOK + 'dashboard_url = "javascript:alert(1)"', "dashboard_url"),
        (HOOK + 'filter = "colour:red"', "filter"),
        (HOOK + 'path = "/x"', "path"),
        (HOOK + "batch = 3", "batch"),
        (HOOK + "timeout_s = 0", "timeout_s"),
        (HOOK + "timeout_s = 61", "timeout_s"),
        (HOOK + 'since = "yesterday"', "since"),
        (HOOK + 'secret = "x"', "secret"),
        ('name = "a"\nkind = "slack"\nurl = "https://hooks.slack.com/x"\nsecret_file = "/s"', "url"),
        ('name = "a"\nkind = "syslog"', "host"),
        ('name = "a"\nkind = "syslog"\nhost = "x"\ntransport = "pigeon"', "transport"),
        ('name = "a"\nkind = "ocsf_file"', "path"),
        ('name = "a"\nkind = "ocsf_http"', "url"),
        ('name = "a"\nkind = "pagerduty"', "secret_file"),
        ('name = "a"\nkind = "apprise"', "secret_file"),
    ],
)
def test_a_wrong_route_is_refused_by_the_name_of_its_key(route: str, field: str) -> None:
    assert refused(route).field == f"delivery.routes.0.{field}"


def test_two_routes_have_two_names() -> None:
    assert refused(HOOK, HOOK).field == "delivery.routes.1.name"


def test_the_reference_lists_each_key_of_a_route_with_its_default() -> None:
    text = Path(monitor.config.__file__).with_name("config.reference.toml").read_text()
    listed = dict(
        re.findall(r"^ +# (\w+) = (\"[^\"]*\"|\S+) +# \w", text.partition("[delivery]")[2], re.MULTILINE)
    )
    assert list(listed) == list(RouteConfig.model_fields)
    for name, field in RouteConfig.model_fields.items():
        if not field.is_required():
            assert listed[name].replace("_", "").strip('"') == str(field.default).replace("_", ""), name


# -- secrets --------------------------------------------------------------------------------------------------------


def opened(tmp_path: Path, kind: str, secret: str, mode: int = 0o600) -> ConfigError:
    file = private(tmp_path, secret)
    Path(file).chmod(mode)
    url = 'url = "https://a.example/x"\n' if kind == "webhook" else ""
    text = f'[[delivery.routes]]\nname = "a"\nkind = "{kind}"\n{url}secret_file = "{file}"'
    with pytest.raises(ConfigError) as caught:
        open_sinks(parse_config(text).delivery)
    return caught.value


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_a_secret_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    error = opened(tmp_path, "webhook", KEY, mode)
    assert error.field == "delivery.routes.0.secret_file"
    assert "chmod 600" in str(error)


@pytest.mark.parametrize(
    ("kind", "secret"),
    [
        ("webhook", "not base64!"),
        ("webhook", "whsec_c2hvcnQ="),
        ("webhook", "whsec_" + "A" * 400),
        ("webhook", " \n"),
        ("webhook", "x" * 70_000),
        ("pagerduty", "too short"),
        ("pagerduty", "é" * 32),
        ("slack", "not an address"),
        ("slack", "ftp://hooks.slack.com/"),
    ],
)
def test_a_secret_of_the_wrong_form_is_refused_and_not_shown(tmp_path: Path, kind: str, secret: str) -> None:
    error = opened(tmp_path, kind, secret)
    assert error.field == "delivery.routes.0.secret_file"
    assert not secret.strip() or secret not in str(error)


def test_a_secret_that_is_not_there_and_a_directory_that_is_not_there_are_named(tmp_path: Path) -> None:
    route = f'name = "a"\nkind = "ocsf_file"\npath = "{tmp_path}/none/f"'
    for text, field in ((HOOK, "secret_file"), (route, "path")):
        with pytest.raises(ConfigError) as caught:
            open_sinks(parse_config(f"[[delivery.routes]]\n{text}").delivery)
        assert caught.value.field == f"delivery.routes.0.{field}"


# -- waits and answers ----------------------------------------------------------------------------------------------


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True), st.floats(0, 1e9))
def test_a_wait_is_bounded_and_no_shorter_than_asked_for(
    failures: int, chance: float, asked_s: float
) -> None:
    wait_s = Backoff().wait_s(failures, chance, asked_s)
    assert 0.25 <= wait_s <= MAX_RETRY_AFTER_S
    assert wait_s >= min(asked_s, MAX_RETRY_AFTER_S)
    assert wait_s <= max(60.0, asked_s)


def test_waits_double_up_to_the_longest() -> None:
    assert [Backoff().wait_s(failures, 0.0) for failures in (1, 2, 3, 8, 99)] == [0.5, 1.0, 2.0, 60.0, 60.0]


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_success_is_success(status: int) -> None:
    judge(status, {}, "", 0.0)


@pytest.mark.parametrize("status", [301, 307, 401, 403, 404, 408, 410, 429, 500, 502, 503, 504, 599])
def test_trouble_with_the_route_delays(status: int) -> None:
    with pytest.raises(DeliveryDelayed):
        judge(status, {}, "", 0.0)


@pytest.mark.parametrize("status", [400, 406, 411, 413, 414, 415, 422])
def test_what_is_wrong_with_the_message_refuses_it(status: int) -> None:
    with pytest.raises(DeliveryRefused) as caught:
        judge(status, {}, "why", 0.0)
    assert caught.value.answer == "why"


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("", 0.0),
        ("soon", 0.0),
        ("-5", 0.0),
        ("9" * 400, 999_999_999.0),
        ("²", 0.0),
    ],
)
def test_retry_after_in_seconds(value: str, wait_s: float) -> None:
    assert retry_after_s(value, 0.0) == wait_s


def test_retry_after_as_a_date() -> None:
    now = datetime(2026, 11, 23, 21, 0, tzinfo=UTC)
    text = format_datetime(now.replace(minute=1), usegmt=True)
    assert retry_after_s(text, now.timestamp()) == 60.0
    assert retry_after_s(text, now.timestamp() + 3600) == 0.0


@given(st.text(max_size=60))
def test_no_retry_after_breaks_anything(value: str) -> None:
    assert retry_after_s(value, 0.0) >= 0.0


@pytest.mark.parametrize(
    ("wanted", "passes"),
    [
        ("", False),
        ("agent:billing-*", False),
        ("state:open", False),
        ("-state:muted", False),
        ("-state:closed", False),
        ('"state:muted"', False),
        ("state:muted", True),
        ("state:open,muted", True),
        ("agent:billing-* state:muted", True),
        ("agent:other state:muted", False),
    ],
)
def test_what_is_muted_passes_only_where_it_is_asked_for(wanted: str, passes: bool) -> None:
    muted = event(1, alert(group={"muted_by": "mu-1"}), "")
    assert is_wanted(muted, parse_filter(wanted)) is passes


def test_a_message_has_one_id_and_no_other_has_it() -> None:
    texts = [f'{{"seq":{seq}}}' for seq in (1, 2, 1)]
    first, other, again = (event(1, alert(), text).id for text in texts)
    assert first == again != other
    assert re.fullmatch("msg_[0-9a-f]{32}", first)


def test_neither_a_kill_nor_the_configuration_waits_for_what_only_deliveries_need() -> None:
    for name in ("monitor.cli.main", "monitor.cli.kill", "monitor.config", "monitor.delivery.sinks"):
        assert not brings(name) & {"httpx", "apprise"}, name
