import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.requests import value_count
from services.requests.value_count import has_too_many_values

BASE = st.none() | st.booleans() | st.integers(-9, 9) | st.text('a,[{"\\é\n', max_size=9)
VALUES = st.recursive(BASE, lambda inner: st.lists(inner) | st.dictionaries(st.text('a,"\\{', max_size=4), inner))


def parts_and_commas(value: Any) -> tuple[int, int]:
    """Count the strings (including keys), arrays and objects in a value, and the commas in its JSON."""
    if not isinstance(value, dict | list):
        return int(isinstance(value, str)), 0
    inner = [parts_and_commas(one) for one in (value.values() if isinstance(value, dict) else value)]
    parts = 1 + sum(parts for parts, _ in inner) + (len(value) if isinstance(value, dict) else 0)
    return parts, sum(commas for _, commas in inner) + max(len(inner) - 1, 0)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(value=VALUES, chunk_bytes=st.integers(1, 7), ensure_ascii=st.booleans())
async def test_values_are_counted_outside_of_strings_for_any_chunk_size(
    value: Any, chunk_bytes: int, ensure_ascii: bool
) -> None:
    body = json.dumps(value, ensure_ascii=ensure_ascii).encode()
    parts, commas = parts_and_commas(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(value_count, "CHUNK_BYTES", chunk_bytes)
        patch.setattr(value_count, "MAX_PARTS", parts)
        patch.setattr(value_count, "MAX_VALUES", commas)
        patch.setattr(value_count, "SMALL_BYTES", 0)
        assert not await has_too_many_values(body)
        for name, found in (("MAX_PARTS", parts), ("MAX_VALUES", commas)):
            if found:
                patch.setattr(value_count, name, found - 1)
                assert await has_too_many_values(body)
                patch.setattr(value_count, name, found)
