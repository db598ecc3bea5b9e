"""Model of how Ollama before 0.30 converted regular expressions to grammars, bugs included.

`Converter` follows `_visit_pattern` of llama.cpp's json-schema-to-grammar.cpp, which ran in the server itself:
undefined behaviour there crashes the server. It works on UTF-8 bytes, here characters up to U+00FF.
`GrammarParser` follows llama-grammar.cpp, where an error terminated the model runner.

Over 300 lines, as the parser reads exactly what the converter writes.
"""

import re
from typing import NamedTuple, NoReturn

ENDS_RUNNER, ENDS_SERVER, HANGS = 1, 2, 3
MAX_GROUP_DEPTH = 100
MAX_REPETITIONS = 2000
MANY_PATHS = 1_000_000

_DOT = r"[^\x0A\x0D]"
_SPECIAL = "|.()[]{}*+?"
_LITERAL_WHEN_ESCAPED = "^$.[]()|{}*+?"
_COUNT = re.compile(r"\s*[+-]?\d+")
_MAX_INT = 2**31 - 1
_ESCAPE = re.compile(r'\\(?:[trn\\"\[\]]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})')
_REPETITION = re.compile(r"\{ *(\d+) *(?:,? *\}|, *(\d+) *\})")


class PatternHarm(Exception):  # noqa: N818 - internal signal, always caught
    """A pattern crashes the runner or the server, or hangs it."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.level = level


class _RefusedError(Exception):
    """Ollama would reject the pattern with an error, harmlessly."""


def empty_paths(pattern: str) -> int:
    """Return in how many ways a pattern (without its `^` and `$`) matches the empty string.

    The sampler follows each of them before each token.

    Raises:
        PatternHarm: if Ollama would crash before sampling.
    """
    try:
        grammar = Converter(pattern.encode(errors="replace").decode("latin-1")).convert()
    except _RefusedError:
        return 0
    text = grammar.encode("latin-1").decode(errors="replace")  # restore multi-byte characters split above
    return GrammarParser(f"({text})").parse()


class _Item(NamedTuple):
    text: str
    is_literal: bool

    @property
    def rule(self) -> str:
        return f'"{self.text}"' if self.is_literal else self.text


class Converter:
    """Converts a pattern to the text of a grammar rule."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._is_refused = False

    def convert(self) -> str:
        """Return the rule's text."""
        rule = self._sequence(0)
        if self._is_refused:
            raise _RefusedError
        return rule

    def _sequence(self, depth: int) -> str:
        if depth > MAX_GROUP_DEPTH:
            raise PatternHarm(ENDS_SERVER)
        items: list[_Item] = []
        while self._at < len(self._pattern):
            char = self._pattern[self._at]
            match char:
                case "]" | "}":  # an endless loop in Ollama
                    raise PatternHarm(ENDS_SERVER)
                case "[":
                    items.append(_Item(self._character_class(), is_literal=False))
                    continue
                case "{":
                    items[-1:] = [self._repetition(items)]
                    continue
                case "." | "|":
                    items.append(_Item(_DOT if char == "." else char, is_literal=False))
                case "*" | "+" | "?":
                    items[-1:] = [_Item(_last(items).rule + char, is_literal=False)]
                case "(":
                    self._at += 1
                    items.append(_Item(f"({self._sequence(depth + 1)})", is_literal=False))
                    continue
                case ")":
                    self._at += 1
                    break
                case _:
                    items.append(_Item(self._literal(), is_literal=True))
                    continue
            self._at += 1
        return _joined(items)

    def _character_class(self) -> str:
        end = self._at + 1
        while end < len(self._pattern) and self._pattern[end] != "]":
            end += 2 if self._pattern[end] == "\\" else 1
        if end >= len(self._pattern):
            self._is_refused = True
        text = self._pattern[self._at : end] + "]"
        self._at = end + 1
        return text

    def _repetition(self, items: list[_Item]) -> _Item:
        end = self._pattern.find("}", self._at)
        if end < 0:
            self._is_refused, end = True, len(self._pattern)
        counts = self._pattern[self._at + 1 : end].split(",")
        self._at = end + 1
        at_least, at_most = 0, _MAX_INT
        if len(counts) == 1:
            at_least = at_most = self._count(counts[0])
        elif len(counts) == 2:  # noqa: PLR2004 - {m,n}
            at_least = self._count(counts[0]) if counts[0] else at_least
            at_most = self._count(counts[1]) if counts[1] else at_most
        else:
            self._is_refused = True
        last = _last(items)
        if last.text == "|":  # becomes a rule that consumes the next one
            return _Item("|*", is_literal=False)
        if last.is_literal:
            return _Item(_repeated(last.rule, at_least, at_most), is_literal=False)
        # becomes a separate rule, which is parsed even if repeated zero times
        rule = f"({last.text})"
        return _Item(_repeated(rule, at_least, at_most) or f"{rule}{{0}}", is_literal=False)

    def _count(self, text: str) -> int:
        found = _COUNT.match(text)
        if found is None or abs(count := int(found[0][:20])) > _MAX_INT:
            raise _RefusedError
        return count

    def _literal(self) -> str:
        pattern, text = self._pattern, []
        while self._at < len(pattern):
            char, following = pattern[self._at], pattern[self._at + 1 : self._at + 2]
            if char == "\\" and following:
                text.append(following if following in _LITERAL_WHEN_ESCAPED else char + following)
                self._at += 1
            elif char == '"':
                text.append('\\"')
            elif char not in _SPECIAL and (not following or not text or following == "." or following not in _SPECIAL):
                text.append(char)
            else:
                break
            self._at += 1
        return "".join(text)


def _last(items: list[_Item]) -> _Item:
    if not items:  # undefined behaviour in Ollama
        raise PatternHarm(ENDS_SERVER)
    return items[-1]


def _joined(items: list[_Item]) -> str:
    """Join a sequence, merging adjacent literals."""
    parts: list[str] = []
    literal: list[str] = []
    for item in [*items, _Item("", is_literal=False)]:
        if item.is_literal:
            literal.append(item.text)
            continue
        if literal:
            parts.append(f'"{"".join(literal)}"')
            literal = []
        parts.append(item.text)
    return " ".join(parts[:-1])


def _repeated(rule: str, at_least: int, at_most: int) -> str:
    if at_most == 0:
        return ""
    match (at_least, at_most):
        case (0, 1):
            return f"{rule}?"
        case (1, upper) if upper == _MAX_INT:
            return f"{rule}+"
        case (0, upper) if upper == _MAX_INT:
            return f"{rule}*"
    return f"{rule}{{{at_least},{'' if at_most == _MAX_INT else at_most}}}"


class GrammarParser:
    """Parses the text of a rule and counts the ways in which it can match the empty string."""

    def __init__(self, text: str) -> None:
        self._text = text.partition("\0")[0]
        self._at = 0

    def parse(self) -> int:
        """Return in how many ways the rule can match the empty string."""
        ways = self._sequence()
        if self._at < len(self._text):
            _fail()
        return ways

    def _alternates(self) -> int:
        ways = self._sequence()
        while self._peek() == "|":
            self._skip(1)
            ways += self._sequence()
        return min(ways, MANY_PATHS)

    def _sequence(self) -> int:
        ways, last, has_last = 1, 1, False
        while char := self._peek():
            if char in '"[(':
                ways, (last, has_last) = min(ways * last, MANY_PATHS), self._symbol(char)
            elif char in "*+?{":
                if not has_last:
                    _fail()
                at_least, at_most = self._bounds(char)
                last, has_last = _ways_of_repetition(last, at_least, at_most), at_most != 0
            else:
                break
        return min(ways * last, MANY_PATHS)

    def _symbol(self, char: str) -> tuple[int, bool]:
        """Return in how many ways a symbol can be empty, and whether it exists."""
        self._at += 1
        if char == "(":
            self._skip(0)
            ways = self._alternates()
            if self._peek() != ")":
                _fail()
            self._skip(1)
            return ways, True
        end = '"' if char == '"' else "]"
        if char == "[" and self._peek() == "^":
            self._at += 1
        has_characters = False
        while self._peek() != end:
            self._character()
            if char == "[" and self._peek() == "-" and self._text[self._at + 1 : self._at + 2] != "]":
                self._at += 1
                self._character()
            has_characters = True
        self._skip(1)
        return int(not has_characters), has_characters

    def _character(self) -> None:
        char = self._peek()
        if not char:
            _fail()
        if char != "\\":
            self._at += 1
        elif escape := _ESCAPE.match(self._text, self._at):
            self._at = escape.end()
        else:
            _fail()

    def _bounds(self, char: str) -> tuple[int, int | None]:
        if char != "{":
            self._skip(1)
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[char]
        found = _REPETITION.match(self._text, self._at)
        if found is None:
            _fail()
        self._skip(found.end() - self._at)
        at_least = int(found[1])
        at_most = None if "," in found[0] and found[2] is None else int(found[2] or found[1])
        if max(at_least, at_most or 0) > MAX_REPETITIONS:
            _fail()
        return at_least, at_most

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip(self, count: int) -> None:
        """Advance by `count`, then past white space."""
        self._at += count
        while self._peek() and self._peek() in " \t\r\n":
            self._at += 1


def _ways_of_repetition(ways: int, at_least: int, at_most: int | None) -> int:
    if at_most is None:
        if ways:  # left recursion
            _fail()
        return int(at_least == 0)
    if at_least > at_most:
        raise PatternHarm(HANGS)
    total = term = min(ways**at_least, MANY_PATHS) if ways < 2 or at_least < 20 else MANY_PATHS  # noqa: PLR2004
    for _ in range(at_most - at_least):
        term *= ways
        total += term
        if total > MANY_PATHS:
            break
    return min(total, MANY_PATHS)


def _fail() -> NoReturn:
    raise PatternHarm(ENDS_RUNNER)
