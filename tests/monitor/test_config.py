"""The configuration: every key documented, every mistake named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import monitor.config
from monitor.config import Config, load_config, parse_config
from monitor.core.pipeline import Pipeline
from monitor.errors import ConfigError

REFERENCE = Path(monitor.config.__file__).with_name("config.reference.toml")


def keys(model: BaseModel) -> dict[str, Any]:
    """Every key by its dotted name."""
    return {
        f"{section}.{key}": getattr(getattr(model, section), key)
        for section in type(model).model_fields
        for key in type(getattr(model, section)).model_fields
    }


def refusal(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    return caught.value


def test_the_reference_file_lists_exactly_the_defaults() -> None:
    text = REFERENCE.read_text()
    assert parse_config(text) == Config()
    section, listed = "", []
    for line in text.splitlines():
        if found := re.match(r"\[(\w+)\]", line):
            section = found[1]
        elif found := re.match(r"(\w+) = ", line):
            listed.append(f"{section}.{found[1]}")
    assert listed == list(keys(Config())), "each key once, in the order of the code"


def test_each_key_of_the_reference_says_what_it_does() -> None:
    for line in REFERENCE.read_text().splitlines():
        if re.match(r"\w+ = ", line):
            _, _, comment = line.partition("# ") if '"' not in line else line.rpartition("# ")
            assert len(comment) > 20, line


def test_without_a_file_everything_has_its_default(tmp_path: Path) -> None:
    assert load_config(None) == parse_config("") == Config()
    (tmp_path / "c.toml").write_text("[server]\nport = 1\n")
    assert load_config(tmp_path / "c.toml").server.port == 1


def test_new_installs_kill_nobody_by_themselves() -> None:
    assert Config().response.mode == "alert"
    assert Config().server.host == "127.0.0.1"


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("[server]\nprot = 1", "server.prot"),
        ("[sever]\nport = 1", "sever"),
        ("port = 1", "port"),
        ("[server]\nport = 70000", "server.port"),
        ('[server]\nport = "8787"', "server.port"),
        ("[server]\nport = true", "server.port"),
        ('[response]\nmode = "kill"', "response.mode"),
        ("[response]\nsuspend_s = 0", "response.suspend_s"),
        ("[response]\nsuspend_s = inf", "response.suspend_s"),
        ("[response]\nsuspend_s = nan", "response.suspend_s"),
        ("[response]\nfalse_kills_per_agent_day = 0.2", "response.false_kills_per_agent_day"),
        ("[detection]\nmin_actions = 19", "detection.min_actions"),
        ("[detection]\nfleet_min_actions = 199", "detection.fleet_min_actions"),
        ('[[detection.river]]\nname = "x"\nwho = 1', "detection.river.0.who"),
        ("[detection]\nriver = [{name='a'},{name='b'},{name='c'}]", "detection.river"),
        ("[server", ""),
    ],
)
def test_a_wrong_key_is_refused_by_its_dotted_name(text: str, field: str) -> None:
    error = refusal(text)
    assert error.field == field
    assert str(error).startswith(field)


def test_the_number_of_further_mistakes_is_said() -> None:
    assert "2 more" in str(refusal("[server]\na = 1\nb = 2\nc = 3"))


def test_whole_numbers_are_taken_where_fractions_may_stand() -> None:
    assert parse_config("[response]\nsuspend_s = 60").response.suspend_s == 60.0


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_a_file_that_cannot_be_read_is_our_error(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "c.toml"
    if content:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"c\.toml"):
        load_config(file)


@pytest.mark.parametrize(
    "text", ["[detection]\nmin_actions = 20\nfleet_min_actions = 200\nmax_agents = 64", ""]
)
def test_what_the_file_may_say_the_pipeline_accepts(text: str) -> None:
    Pipeline(parse_config(text))


@pytest.mark.parametrize(
    "name", ["river.anomaly.Nothing", "os.system", "river.linear_model.LinearRegression", "HalfSpaceTrees"]
)
def test_a_detector_that_river_has_not_is_named(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Pipeline(parse_config(f'[[detection.river]]\nname = "{name}"'))
    assert caught.value.field == "detection.river.0.name"


def test_the_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().server.port = 1
