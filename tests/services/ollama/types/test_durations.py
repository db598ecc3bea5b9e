import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ollama.types.durations import parse_keep_alive
from simulator.wire.requests import keep_alive_seconds

TEXTS: list[tuple[object, object]] = [
    ("5m", "5m"),
    ("1h30m", "1h30m"),
    (" 30s ", "30s"),
    ("-1m", "-1m"),
    ("1.5h", "1.5h"),
    ("300ms", "300ms"),
]
NUMBERS: list[tuple[object, object]] = [
    (300, 300),
    (1.5, 1.5),
    (-1, -1),
    (0, 0),
    ("300", 300),
    ("-1", -1),
    ("0", 0),
    ("1.5", 1.5),
]


@pytest.mark.parametrize(("given", "sent"), TEXTS + NUMBERS)
def test_valid_durations(given: object, sent: object) -> None:
    value = parse_keep_alive(given)
    assert value == sent
    assert isinstance(value, str) is isinstance(sent, str)


@pytest.mark.parametrize(
    "given",
    [
        "",
        "m",
        "5 m",
        "5parsecs",
        "5m!",
        "abc",
        "1h-5m",
        "m5",
        "٣m",
        "٣",
        "--5",
        True,
        None,
        [],
        {},
        float("inf"),
        float("nan"),
    ],
)
def test_invalid_durations_are_rejected(given: object) -> None:
    with pytest.raises(ValueError, match="a duration with a unit such as"):
        parse_keep_alive(given)


durations = st.lists(st.sampled_from([*"0123456789.-+ ", "ns", "us", "µs", "ms", "s", "m", "h", "d", "٣"]), max_size=6)


@given(durations.map("".join) | st.text(max_size=5) | st.floats() | st.integers() | st.booleans() | st.none())
def test_accepted_durations_are_valid_in_ollama(value: object) -> None:
    try:
        sent = parse_keep_alive(value)
    except ValueError:
        return
    assert isinstance(keep_alive_seconds(sent), float)
