"""Strict parser of `.env` files: a line that cannot be parsed is an error and never skipped."""

import difflib
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dotenv.parser import Binding, parse_stream
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

ASSIGNMENT = re.compile(r"\s*(?:export\s+)?'?([A-Za-z_][A-Za-z0-9_.-]*)'?\s*=")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
SIMILARITY = 0.8
ACCESS_SETTINGS = ("API_KEYS", "ALLOWED_HOSTS")  # without them the service is open, so a misspelt one is an error
ACCESS_SIMILARITY = 0.85  # stricter, as a match is an error and not a warning
MAX_LISTED = 20
UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class DotenvError(ValueError):
    """A `.env` file is invalid; the message is one line and contains no values."""


class Variable(NamedTuple):
    """An assignment in a `.env` file."""

    name: str
    value: str
    line: int


class DotenvSource(PydanticBaseSettingsSource):
    """Settings source that reads `.env` files; values of later files win.

    `named_by` is the variable that names the files, which must exist then; without it, files may be missing.

    Raises:
        DotenvError: when called, if a file cannot be read or parsed.
    """

    def __init__(
        self,
        settings_class: type[BaseSettings],
        paths: tuple[Path, ...],
        environment: Mapping[str, Any],
        named_by: str | None = None,
    ) -> None:
        super().__init__(settings_class)
        self._paths = paths
        self._environment = environment
        self._named_by = named_by

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Not used: `__call__` returns all fields."""
        raise NotImplementedError

    def __call__(self) -> dict[str, str]:
        """Return the non-empty values by field name."""
        fields = self.settings_cls.model_fields
        values: dict[str, str] = {}
        misspelt: list[tuple[Path, Variable, str]] = []
        for path in self._paths:
            variables = read_dotenv(path, fields, self._named_by)
            values |= {name.lower(): found.value for name, found in variables.items() if found.value}
            misspelt += [(path, *match) for match in _misspelt_access_settings(variables.values(), fields)]
        for path, variable, meant in misspelt:
            if meant.lower() not in values and not self._environment.get(meant.lower()):
                raise DotenvError(
                    f"{path} line {variable.line}: {variable.name} is not a setting; rename it to {meant}, or remove it"
                )
        return {name: value for name, value in values.items() if name in fields}


def read_dotenv(path: Path, fields: Mapping[str, Any], named_by: str | None = None) -> dict[str, Variable]:
    """Return the variables of a file by their names in upper case; none if the file does not exist.

    `fields` are the names of the settings. If a variable `named_by` names the file, it must exist. In the
    values of settings `${NAME}` is not expanded, and is an error outside single quotes. A named pipe is read until its
    writer closes it.

    Raises:
        DotenvError: if the file cannot be read or parsed.
    """
    variables: dict[str, Variable] = {}
    for variable, raw in _parse(path, _read_text(path, named_by)):
        name = variable.name.upper()
        if name.lower() in fields:
            if "\n" in raw or "\r" in raw:
                raise DotenvError(
                    f"{path} line {variable.line}: the quote after {variable.name}= is not closed on its line"
                )
            if "${" in variable.value and not re.match(r"[^=]*=\s*'", raw):
                raise DotenvError(
                    f"{path} line {variable.line}: {variable.name} contains ${{…}}, which is not expanded; "
                    "write out the value, in single quotes if it contains ${"
                )
            earlier = variables.get(name)
            if earlier is not None and earlier.value != variable.value:
                raise DotenvError(
                    f"{path} line {variable.line}: {variable.name} is already set to another value "
                    f"in line {earlier.line}"
                )
        else:
            # a quote that is not closed makes the assignments below it part of the value
            names_within = [match[1] for line in raw.splitlines()[1:] if (match := ASSIGNMENT.match(line))]
            if any(nearest_setting(name, fields) for name in names_within):
                raise DotenvError(
                    f"{path} line {variable.line}: the quote after {variable.name}= is not closed on its line"
                )
        variables[name] = variable
    return variables


def unknown_names(path: Path, fields: Mapping[str, Any]) -> list[str]:
    """Return warnings about the variables of a file that are not settings; none for a named pipe.

    There is one for each that looks like a misspelt setting, and one for all others, which may be settings of another
    program that shares the file.
    """
    if not path.is_file():
        return []
    unknown = [found for name, found in read_dotenv(path, fields).items() if name.lower() not in fields]
    nearest = {found: near for found in unknown if (near := nearest_setting(found.name, fields))}
    warnings = [
        f"{path} line {found.line}: {found.name} is not a setting; did you mean {near}?"
        for found, near in nearest.items()
    ]
    others = [found.name for found in unknown if found not in nearest]
    if others:
        more = f" and {len(others) - MAX_LISTED} more" if len(others) > MAX_LISTED else ""
        warnings.append(f"{path}: not settings of this service, ignored: {', '.join(others[:MAX_LISTED])}{more}")
    return warnings


def nearest_setting(name: str, fields: Mapping[str, Any], similarity: float = SIMILARITY) -> str | None:
    """Return the setting whose name is equal or most similar, in upper case; None if none is similar."""
    squeezed = {_squeeze(field): field.upper() for field in fields}
    matches = difflib.get_close_matches(_squeeze(name), squeezed, n=1, cutoff=similarity)
    return squeezed[matches[0]] if matches else None


def _misspelt_access_settings(
    variables: Iterable[Variable], fields: Mapping[str, Any]
) -> Iterator[tuple[Variable, str]]:
    """Yield each variable that is a misspelt access setting, with the setting that is meant."""
    for variable in variables:
        meant = _nearest_access_setting(variable.name, fields)
        if meant is not None:
            yield variable, meant


def _nearest_access_setting(name: str, fields: Mapping[str, Any]) -> str | None:
    """Return the access setting that a name is a misspelling of."""
    if name.lower() in fields:
        return None
    if _squeeze(name).endswith("APIKEYS"):
        return "API_KEYS"
    near = nearest_setting(name, dict.fromkeys(ACCESS_SETTINGS), ACCESS_SIMILARITY)
    return near if near and near.lower() in fields else None


def _squeeze(name: str) -> str:
    return re.sub("[^A-Z0-9]", "", name.upper())


def _read_text(path: Path, named_by: str | None) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        if path.is_symlink():
            raise DotenvError(f"{path} is a link to a file that does not exist") from None
        if named_by:
            raise DotenvError(f"{named_by} names {path.absolute()}, which does not exist") from None
        return ""
    except OSError as error:
        raise DotenvError(f"{path} cannot be read: {error.strerror}") from None
    if data.startswith(UTF_16_MARKS):
        raise DotenvError(f"{path} line 1: UTF-16 is not supported; save the file as UTF-8")
    if b"\0" in data:
        raise DotenvError(f"{path} line {_line_at(data, data.index(0))}: a NUL byte; save the file as UTF-8 text")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DotenvError(f"{path} line {_line_at(data, error.start)}: not UTF-8; save the file as UTF-8") from None


def _line_at(data: bytes, position: int) -> int:
    return data.count(b"\n", 0, position) + 1


def _parse(path: Path, text: str) -> Iterator[tuple[Variable, str]]:
    """Yield each variable with the raw text of its assignment."""
    for binding in parse_stream(io.StringIO(text)):
        raw = binding.original.string.strip()
        line = binding.original.line + _leading_lines(binding.original.string)
        if not binding.error and (not raw or raw.startswith("#")):
            continue
        if binding.error or binding.key is None or binding.value is None or not NAME.fullmatch(binding.key):
            raise DotenvError(f"{path} line {line}: {_explain(binding)}")
        yield Variable(binding.key, binding.value, line), raw


def _leading_lines(text: str) -> int:
    """Count the leading blank lines, which python-dotenv includes in the text of the next assignment."""
    blank = text[: len(text) - len(text.lstrip())]
    return len(re.findall(r"\r\n|\n|\r", blank))


def _explain(binding: Binding) -> str:
    raw = binding.original.string.strip()
    match = ASSIGNMENT.match(raw)
    if match is None:
        return "expected NAME=value"
    name, value = match[1], raw[match.end() :].lstrip()
    quote = value[:1]
    if quote in {"'", '"'} and (quote not in value[1:] or re.search(r"[\r\n]", value)):
        return f"the quote after {name}= is not closed on its line"
    return f"text after the closing quote of {name}; quote the complete value or nothing: {name}=one,two"
