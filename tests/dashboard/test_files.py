"""The dashboard's files, without a browser: nothing inline, nothing from elsewhere, colours with contrast."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DASHBOARD = Path(__file__).parents[2] / "monitor" / "dashboard"


def _modules() -> dict[str, str]:
    return {path.name: path.read_text() for path in DASHBOARD.glob("*.js")}


@pytest.mark.parametrize(
    "forbidden",
    [r"\.innerHTML", r"\.outerHTML", "insertAdjacentHTML", r"document\.write", r"\beval\(", r"new Function",
     "DOMParser", "createContextualFragment", "setHTMLUnsafe", "localStorage", r"document\.cookie", r"\.style\b"],
)  # fmt: skip
def test_no_module_can_turn_text_into_markup_or_keep_a_token_for_long(forbidden: str) -> None:
    found = [name for name, code in _modules().items() if re.search(forbidden, code)]
    assert not found


def test_the_page_has_nothing_inline_and_loads_nothing_from_elsewhere() -> None:
    page = (DASHBOARD / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\ssrc=)", page)
    assert not re.search(r"\s(style|on\w+)=", page)
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert addresses
    places = {address for address in addresses if address.startswith("#/")}  # the page's own views
    assert all(address.startswith("/static/") for address in set(addresses) - places - {"#main", "/v1/login"})
    for sheet in DASHBOARD.glob("*.css"):
        assert not re.search(r"url\(|@import", sheet.read_text()), sheet.name


def test_every_file_is_used() -> None:
    """What nothing loads is dead, and would be shipped all the same."""
    text = "".join(path.read_text() for path in DASHBOARD.iterdir())
    unused = {
        path.name for path in DASHBOARD.iterdir() if path.name != "index.html" and f"/{path.name}" not in text
    }
    assert unused == set()


@pytest.mark.parametrize("sheet", sorted(path.name for path in DASHBOARD.glob("*.css")))
def test_colours_are_named_and_not_written_out(sheet: str) -> None:
    """Colours are named in the two blocks whose contrast is computed here; nowhere else may one be written."""
    text = re.sub(r":root \{.*?\}", "", (DASHBOARD / sheet).read_text(), flags=re.DOTALL)
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b(?=[^{}]*;)", text) == []


def test_everything_that_is_loaded_or_looked_up_exists() -> None:
    page = (DASHBOARD / "index.html").read_text()
    ids = set(re.findall(r'id="([^"]+)"', page))
    for name, code in _modules().items():
        imports = re.findall(r'from "\./([^"]+)"', code)
        assert {path for path in imports if not (DASHBOARD / path).exists()} == set(), name
        assert {found for found in re.findall(r'byId\("([^"]+)"\)', code) if found not in ids} == set(), name


TEXT_ON_GROUND = [
    (text, ground)
    for text in ("text", "muted", "accent", "critical", "high", "medium", "low", "ok")
    for ground in ("ground", "surface", "raised")
] + [
    ("critical", "critical-ground"), ("muted", "critical-ground"), ("accent", "critical-ground"),
    ("text", "critical-ground"),
    ("medium", "watch-ground"), ("high", "watch-ground"), ("text", "watch-ground"), ("ok", "ok-ground"),
    ("on-kill", "kill"), ("on-kill", "kill-hover"), ("on-solid", "solid"), ("on-solid", "solid-hover"),
]  # fmt: skip


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize(("text", "ground"), TEXT_ON_GROUND)
def test_text_has_the_contrast_of_wcag_aa(scheme: str, text: str, ground: str) -> None:
    colours = _colours(scheme)
    assert _contrast(colours[text], colours[ground]) >= 4.5  # WCAG 2.2 §1.4.3


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_fields_and_buttons_can_be_told_from_their_ground(scheme: str) -> None:
    colours = _colours(scheme)
    assert (
        min(_contrast(colours["edge"], colours[ground]) for ground in ("ground", "surface")) >= 3
    )  # §1.4.11


def _colours(scheme: str) -> dict[str, str]:
    blocks = re.findall(r":root \{(.*?)\}", (DASHBOARD / "style.css").read_text(), re.DOTALL)
    found = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block)) for block in blocks]
    return found[0] | (found[1] if scheme == "light" else {})


def _contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)
