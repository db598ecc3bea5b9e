"""`.env.example` has every setting with its default."""

import re
from pathlib import Path

import pytest

from config import Settings

EXAMPLE = Path(__file__).parent.parent.parent / ".env.example"
LINES = EXAMPLE.read_text().splitlines()
NAMED = {
    match[1]: (match[2], LINES[number - 1])
    for number, line in enumerate(LINES)
    if (match := re.fullmatch(r"([A-Z_]+)=(.*)", line))
}
PUBLIC_ADDRESS = "15.134.68.145"


def test_it_names_every_setting_once_and_nothing_else() -> None:
    assert sorted(line.partition("=")[0] for line in LINES if line and not line.startswith("#")) == sorted(
        name.upper() for name in Settings.model_fields
    )


@pytest.mark.parametrize("name", Settings.model_fields)
def test_it_comments_each_setting_with_its_description(name: str) -> None:
    _, before = NAMED[name.upper()]
    lines = iter(reversed(LINES[: LINES.index(f"{name.upper()}={NAMED[name.upper()][0]}")]))
    comments = [before]
    for line in lines:
        if not line.startswith("# "):
            break
        comments.append(line)
    description = (Settings.model_fields[name].description or "").replace("`", "")
    assert f"# {description}" in comments


def test_it_loads_as_the_defaults() -> None:
    assert Settings(_env_file=EXAMPLE) == Settings(_env_file=None)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_it_shows_the_default(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text, _ = NAMED[name.upper()]
    default = getattr(Settings(_env_file=None), name)
    assert (text == "") is (default is None or default == ())
    monkeypatch.setenv(name.upper(), text)
    assert getattr(Settings(_env_file=None), name) == default


def test_the_public_address_is_only_in_a_comment() -> None:
    mentions = [line for line in LINES if PUBLIC_ADDRESS in line]
    assert mentions
    assert all(line.startswith("#") for line in mentions)
