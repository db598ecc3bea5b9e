import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ollama.types.model_names import ModelName, short_name
from simulator.names import parse_name, split_source

SAME = [
    [
        "gpt-oss",
        "gpt-oss:latest",
        "GPT-OSS",
        "gpt-oss:LATEST",
        "library/gpt-oss",
        " gpt-oss ",
        "registry.ollama.ai/library/gpt-oss:latest",
        "https://registry.ollama.ai/library/gpt-oss",
        "gpt-oss:local",
    ],
    ["gpt-oss:20b", "GPT-oss:20B", "library/gpt-oss:20b"],
    ["gpt-oss:latest-x"],
    ["me/gpt-oss", "me/gpt-oss:latest", "ME/gpt-oss"],
    ["hf.co/me/gpt-oss", "HF.co/me/gpt-oss:latest"],
    ["box:5000/me/gpt-oss", "box:5000/me/gpt-oss:latest"],
    ["box:5000/me/gpt-oss:20b"],
    ["box:5001/me/gpt-oss"],
    ["gpt"],
]
INVALID = ["", " ", ":", "tiny:", ":tag", "/tiny", "me/", "a/b/c/d", "no such", "tiny@sha256:abc", "-tiny", "tiny:-tag"]
INVALID += [".ns/tiny", "n.s/tiny", "ti\nny", "naïve", "a" * 81, f"tiny:{'a' * 81}", f"{'h' * 351}/ns/tiny", "tiny:a/b"]
INVALID += [
    "x:cloud:cloud",
    "x:local:cloud",
    "http://gpt-oss",
    "http://library/gpt-oss",
    "x\r\ny://registry.ollama.ai/library/gpt-oss",
]


@pytest.mark.parametrize("names", SAME, ids=lambda names: names[0])
def test_names_of_one_model_are_equal(names: list[str]) -> None:
    assert len({ModelName.parse(name) for name in names}) == 1


def test_names_of_different_models_differ() -> None:
    for one, other in itertools.combinations(SAME, 2):
        assert ModelName.parse(one[0]) != ModelName.parse(other[0])


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_name_is_rejected(name: str) -> None:
    with pytest.raises(ValueError, match="a model name such as"):
        ModelName.parse(name)


@pytest.mark.parametrize("name", ["gpt-oss:120b-cloud", "gpt-oss:cloud", "me/model:cloud"])
def test_cloud_names_are_recognized(name: str) -> None:
    assert ModelName.parse(name).is_cloud


@pytest.mark.parametrize("name", ["gpt-oss", "gpt-oss-cloud", "gpt-oss:local", "cloud", "cloud/model"])
def test_other_names_are_not_cloud_names(name: str) -> None:
    assert not ModelName.parse(name).is_cloud


@pytest.mark.parametrize(
    ("name", "short"),
    [("gpt-oss:latest", "gpt-oss"), ("gpt-oss", "gpt-oss"), ("gpt-oss:20b", "gpt-oss:20b"), ("me/a:latest", "me/a")],
)
def test_the_short_name_has_no_default_tag(name: str, short: str) -> None:
    assert short_name(name) == short


def parsed(text: str) -> ModelName | None:
    try:
        return ModelName.parse(text)
    except ValueError:
        return None


names = st.lists(
    st.sampled_from([*"aZ0-_.:/@ \n", "é", "latest", "library", "cloud", "local", "registry.ollama.ai", "x://"]),
    max_size=9,
).map("".join)


@given(names | st.text(max_size=12))
def test_names_are_parsed_as_in_ollama(text: str) -> None:
    name, (rest, source) = parsed(text), split_source(text)
    theirs = parse_name(rest)
    if name is None:
        # stricter than Ollama for schemes and for white space within a name
        assert theirs is None or "://" in text or len(text.split()) > 1
    else:
        assert theirs is not None
        assert (name.host, name.namespace, name.model, name.tag) == theirs.key
        assert name.is_cloud is (source == "cloud")


@given(names)
def test_case_makes_no_difference(text: str) -> None:
    if text.isascii():
        assert parsed(text.upper()) == parsed(text) == parsed(text.lower())


@given(names)
def test_the_short_name_names_the_same_model(text: str) -> None:
    if (name := parsed(text)) is not None and not name.is_cloud:
        assert parsed(short_name(text.strip())) == name


def test_an_overlong_name_is_rejected() -> None:
    assert parsed("s" * 900 + "://host/namespace/model") is not None
    assert parsed("s" * 5_000_000 + "://host/namespace/model") is None
