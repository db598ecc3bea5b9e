"""Strict reading of `.env` files: a line that cannot be understood is an error, never skipped."""

import difflib
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dotenv.parser import Binding, parse_stream
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

ASSIGNMENT = re.compile(r"\s*(?:export\s+)?'?([A-Za-z_][A-Za-z0-9_.-]*)'?\s*=")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
SIMILARITY = 0.8
SIMILARITY_OF_DOORS = 0.85  # a shorter distance, for it stops the start
DOORS = ("API_KEYS", "ALLOWED_HOSTS")  # without them the service is open: a misspelt one stops the start
UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class DotenvError(ValueError):
    """A `.env` file that cannot be read as its writer meant it; the message is one line without values."""


class Variable(NamedTuple):
    """An assignment in a `.env` file."""

    name: str
    value: str
    line: int


class DotenvSource(PydanticBaseSettingsSource):
    """Takes settings from `.env` files, of which later ones win.

    Raises:
        DotenvError: when called, if a file cannot be read or has a line that cannot be understood.
    """

    def __init__(
        self, settings_class: type[BaseSettings], paths: tuple[Path, ...], environment: Mapping[str, Any]
    ) -> None:
        super().__init__(settings_class)
        self._paths = paths
        self._environment = environment

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Not used: all fields are read at once."""
        raise NotImplementedError

    def __call__(self) -> dict[str, str]:
        """Return the values that are not empty, by the name of their field."""
        fields = self.settings_cls.model_fields
        values: dict[str, str] = {}
        misspelt: list[tuple[Path, Variable, str]] = []
        for path in self._paths:
            variables = read_dotenv(path, fields)
            values |= {name.lower(): found.value for name, found in variables.items() if found.value}
            misspelt += [(path, found, near) for found in variables.values() if (near := misspelt_door(found, fields))]
        for path, found, near in misspelt:
            if near.lower() not in values and not self._environment.get(near.lower()):
                raise DotenvError(
                    f"{path} line {found.line}: {found.name} is no setting, {near} is; rename or remove it"
                )
        return {name: value for name, value in values.items() if name in fields}


def read_dotenv(path: Path, fields: Mapping[str, Any]) -> dict[str, Variable]:
    """Return the variables of a file by their names in upper case; none where there is no file.

    `fields` are the names of settings. Their values are taken as they are written: `${NAME}` is not expanded, and
    refused outside single quotes. A named pipe is read until its writer closes it.

    Raises:
        DotenvError: if the file cannot be read, or a line not be understood.
    """
    variables: dict[str, Variable] = {}
    for found, raw in _parse(path, _read_text(path)):
        name = found.name.upper()
        if name.lower() in fields:
            if "\n" in raw or "\r" in raw:
                raise DotenvError(f"{path} line {found.line}: the quote after {found.name}= is not closed on its line")
            if "${" in found.value and not re.match(r"[^=]*=\s*'", raw):
                raise DotenvError(
                    f"{path} line {found.line}: {found.name} has ${{…}}, which is not expanded; "
                    "write the value itself, in single quotes if it has a ${"
                )
            before = variables.get(name)
            if before is not None and before.value != found.value:
                raise DotenvError(f"{path} line {found.line}: {found.name} has another value in line {before.line}")
        else:
            swallowed = [match[1] for line in raw.splitlines()[1:] if (match := ASSIGNMENT.match(line))]
            if any(nearest_setting(name, fields) for name in swallowed):
                raise DotenvError(f"{path} line {found.line}: the quote after {found.name}= is not closed on its line")
        variables[name] = found
    return variables


def misspelt_names(path: Path, fields: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each variable of a regular file that looks like a setting and is none."""
    if not path.is_file():
        return []
    return [
        f"{path} line {found.line}: {found.name} is no setting of the service; {near} is"
        for name, found in read_dotenv(path, fields).items()
        if name.lower() not in fields and (near := nearest_setting(name, fields))
    ]


def nearest_setting(name: str, fields: Mapping[str, Any], similarity: float = SIMILARITY) -> str | None:
    """Return the setting that a name is or resembles, in upper case."""
    squeezed = {_squeeze(field): field.upper() for field in fields}
    matches = difflib.get_close_matches(_squeeze(name), squeezed, n=1, cutoff=similarity)
    return squeezed[matches[0]] if matches else None


def misspelt_door(variable: Variable, fields: Mapping[str, Any]) -> str | None:
    """Return the setting that closes the service, if this name is a misspelling of it."""
    name = variable.name
    if name.lower() in fields:
        return None
    if _squeeze(name).endswith("APIKEYS"):
        return "API_KEYS"
    near = nearest_setting(name, dict.fromkeys(DOORS), SIMILARITY_OF_DOORS)
    return near if near and near.lower() in fields else None


def _squeeze(name: str) -> str:
    return re.sub("[^A-Z0-9]", "", name.upper())


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        if path.is_symlink():
            raise DotenvError(f"{path}: a link to a file that does not exist") from None
        return ""
    except OSError as error:
        raise DotenvError(f"{path} cannot be read: {error.strerror}") from None
    if data.startswith(UTF_16_MARKS):
        raise DotenvError(f"{path} line 1: UTF-16, where UTF-8 is needed; save the file as UTF-8")
    if b"\0" in data:
        raise DotenvError(f"{path} line {_line_at(data, data.index(0))}: a NUL byte; save the file as UTF-8 text")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DotenvError(f"{path} line {_line_at(data, error.start)}: not UTF-8; save the file as UTF-8") from None


def _line_at(data: bytes, position: int) -> int:
    return data.count(b"\n", 0, position) + 1


def _parse(path: Path, text: str) -> Iterator[tuple[Variable, str]]:
    """Yield each assignment with its raw text."""
    for binding in parse_stream(io.StringIO(text)):
        raw = binding.original.string.strip()
        line = binding.original.line + _leading_lines(binding.original.string)
        if not binding.error and (not raw or raw.startswith("#")):
            continue
        if binding.error or binding.key is None or binding.value is None or not NAME.fullmatch(binding.key):
            raise DotenvError(f"{path} line {line}: {_what_is_wrong(binding)}")
        yield Variable(binding.key, binding.value, line), raw


def _leading_lines(text: str) -> int:
    """Count the blank lines that python-dotenv takes for part of the assignment below them."""
    blank = text[: len(text) - len(text.lstrip())]
    return len(re.findall(r"\r\n|\n|\r", blank))


def _what_is_wrong(binding: Binding) -> str:
    raw = binding.original.string.strip()
    match = ASSIGNMENT.match(raw)
    if match is None:
        return "no NAME=value"
    name, value = match[1], raw[match.end() :].lstrip()
    quote = value[:1]
    if quote in {"'", '"'} and (quote not in value[1:] or re.search(r"[\r\n]", value)):
        return f"the quote after {name}= is not closed on its line"
    return f"text after the closing quote of {name}; quote a value as a whole, or not at all: {name}=one,two"
