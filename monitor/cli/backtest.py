"""`killcord backtest`: what a policy would have alerted, held and killed, from history, before it is promoted.

The history is a daemon's own action log, which is read beside a running daemon without a lock, or recorded streams.
`docs/backtest.md` says what is counted how, and documents the JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from monitor.cli.arguments import default_state
from monitor.cli.backtest_text import Shown, advice, text
from monitor.cli.durations import duration_s
from monitor.cli.main import DONE
from monitor.config import Config, load_config
from monitor.core.backtest import Policy, Report, backtest
from monitor.errors import ConfigError, HistoryError
from monitor.intake.recorded_history import RecordedHistory
from monitor.log.entries import Actions, Entry
from monitor.log.history import read_history

PROGRESS_S = 1.0
DEFAULT = "the default configuration"
_COUNTED = frozenset({"detection", "response"})


class _Source(NamedTuple):
    name: str
    entries: Iterable[Entry]
    recorded: RecordedHistory | None = None


def run(options: argparse.Namespace) -> int:
    """Go through the history under one policy or two, and tell what came of it."""
    policies = _policies(options)
    source = _source(options)
    if options.examples < 0:
        raise ConfigError("--examples", "is 0 or more")
    report = backtest(_watched(source.entries), policies, examples=options.examples)
    if not report.history.actions:
        raise HistoryError(f"there is no action in {source.name}: nothing to judge a policy by")
    if source.recorded:
        for why in source.recorded.refusals:
            print(f"refused {why}", file=sys.stderr)
    shown = Shown(source.name, [(policy.name, policy.config) for policy in policies], report)
    print(json.dumps(_fields(shown, source.recorded)) if options.json else text(shown, source.recorded))
    return DONE


# -- the policies ---------------------------------------------------------------------------------------------------


def _policies(options: argparse.Namespace) -> list[Policy]:
    policy = Policy(DEFAULT, Config()) if options.policy is None else _policy(options.policy)
    return [policy] if options.against is None else [policy, _policy(options.against)]


def _policy(path: Path) -> Policy:
    """Return the policy in a configuration file; raises `ConfigError` naming the key and the file."""
    try:
        config = load_config(path)
    except ConfigError as error:
        said = str(error).removeprefix(f"{error.field}: ")
        raise ConfigError(error.field, f"{said} (in {path})" if error.field else said) from error
    ignored = _ignored(config)
    if ignored:
        print(
            f"killcord: {path}: only [detection] and [response] count in a back-test, not {', '.join(ignored)}",
            file=sys.stderr,
        )
    return Policy(str(path), config)


def _ignored(config: Config) -> list[str]:
    return sorted(f"[{table}]" for table in config.model_fields_set - _COUNTED)


# -- the history ----------------------------------------------------------------------------------------------------


def _source(options: argparse.Namespace) -> _Source:
    last_s = None if options.last is None else duration_s("--last", options.last)
    if options.paths and options.state is not None:
        raise ConfigError("--state", "names one history and the recorded streams another: give one of both")
    if options.paths:
        dedupe_ids = Config().log.dedupe_ids
        recorded = RecordedHistory(options.paths, last_s=last_s, dedupe_ids=dedupe_ids)
        return _Source(", ".join(str(path) for path in options.paths), recorded, recorded)
    state = default_state() if options.state is None else options.state
    if not state.is_dir():
        raise HistoryError(
            f"there is no state directory {state}; name another with --state, or give recorded streams"
        )
    return _Source(f"the action log of {state}", read_history(state / "log", last_s))


def _watched(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Pass the entries on, and tell whoever sits at the terminal how far it is."""
    if not sys.stderr.isatty():
        yield from entries
        return
    actions, shown_s = 0, time.monotonic()
    for entry in entries:
        actions += len(entry.observations) if isinstance(entry, Actions) else 0
        if time.monotonic() - shown_s > PROGRESS_S:
            shown_s = time.monotonic()
            print(f"  {actions:,} actions", file=sys.stderr, flush=True)
        yield entry


# -- JSON -----------------------------------------------------------------------------------------------------------


def _fields(shown: Shown, recorded: RecordedHistory | None) -> dict[str, Any]:
    report: Report = shown.report
    return {
        "history": {
            "source": shown.source,
            **msgspec.to_builtins(report.history),
            "duplicates": recorded.duplicates if recorded else 0,
            "rejected": recorded.rejected if recorded else 0,
        },
        "policies": [
            {
                "policy": name,
                "mode": config.response.mode,
                "ignored": _ignored(config),
                **msgspec.to_builtins(totals),
            }
            for (name, config), totals in zip(shown.policies, report.policies, strict=True)
        ],
        "difference": msgspec.to_builtins(report.difference),
        "advice": advice(shown),
    }
