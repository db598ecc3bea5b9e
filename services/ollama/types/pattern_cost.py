"""Estimated cost of compiling a regular expression."""

import re

# In units of a literal character, which takes jsonschema-rs about 0.5 µs to compile.
PROPERTY_COST = 1_200
NEGATED_COST = 16
CLASS_COST = 4
PATTERN_COST = 100
IGNORING_CASE = 4
MAX_COST = 10_000_000

_TOKEN = re.compile(
    r"\\[pP](?:\{[^}]*\}|.)?|\\.|\[\^?\]?(?:\\.|[^\]\\])*\]?|\{(\d*)(,?)(\d*)\}|[^\\\[{*+?()|.]+|.", re.DOTALL
)
_BACKTRACKING = re.compile(r"\\.|\(\?<?[=!]|\(\?>|[*+?}]\+", re.DOTALL)
_CLASS_PART = re.compile(r"\\[pP](?:\{[^}]*\}|.)?|\\.|.", re.DOTALL)


def pattern_cost(pattern: str) -> int:
    """Estimate the size of a compiled pattern; repetitions count as if written out."""
    factor = IGNORING_CASE if "(?i" in pattern else 1
    groups: list[int] = [PATTERN_COST]
    last = 0
    for token in _TOKEN.finditer(pattern):
        text = token[0]
        if text[0] == "{" and text != "{" and (token[1] or token[3]):
            repeated = last * (max(int(token[1][:9] or 0), int(token[3][:9] or 0), 1) - 1)
            groups[-1] += repeated
            last += repeated
        elif text == "(":
            groups.append(0)
            last = 1
        elif text == ")":
            last = groups.pop() + 1 if len(groups) > 1 else 1
            groups[-1] += last
        else:
            last = _token_cost(text)
            groups[-1] += last
            if len(text) > 1 and text[0] not in "\\[":  # a repetition applies to the last character only
                last = 1
        if groups[-1] > MAX_COST:
            return MAX_COST
    return factor * sum(groups)


def needs_backtracking(pattern: str) -> bool:
    """Return whether a pattern has look-arounds or back-references, which need the backtracking engine."""
    return any(found[0][0] != "\\" or found[0][1] in "123456789k" for found in _BACKTRACKING.finditer(pattern))


def _token_cost(text: str) -> int:
    if text[0] == "[" and len(text) > 1:
        negated = NEGATED_COST if text.startswith("[^") else 0
        return negated + sum(map(_token_cost, _CLASS_PART.findall(text[1:])))
    if text == ".":
        return NEGATED_COST
    if text[0] != "\\":
        return len(text)
    if text[1:2] in {"p", "P"}:
        return PROPERTY_COST
    return NEGATED_COST if text[1:2] in {"W", "D", "S"} else CLASS_COST
