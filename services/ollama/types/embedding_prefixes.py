"""Task prefixes that embedding models were trained with; Ollama adds none.

Vectors of queries and documents can only be compared if both were made with the prefixes of the same model card.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

import orjson

from services.ollama.types.model_names import ModelName

InputType = Literal["query", "document", "classification", "clustering"]
INPUT_TYPES: tuple[InputType, ...] = get_args(InputType)
Prefixes = Mapping[str, str]
"""Prefixes by input type."""

WANTED = (
    'a JSON object such as {"my-model": {"query": "search: ", "document": ""}}, '
    f"with prefixes for any of {', '.join(INPUT_TYPES)}"
)
NONE: Prefixes = dict.fromkeys(INPUT_TYPES, "")
SEARCH_QUERY: Prefixes = {**NONE, "query": "Represent this sentence for searching relevant passages: "}
WEB_SEARCH = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"

OWN_FORMS = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (r"\s*instruct:[^\n]*\nquery:", r"\s*title:[^\n|]*\| text:", r"\s*task:[^\n|]*\| query:")
)
"""Prefixes of which the model cards let the caller choose a part: the instruction, the title, the task."""


class Family(NamedTuple):
    """Models with the same prefixes; input types that the model card does not mention are missing.

    Compared with copies of the model cards: nomic-embed-text (v2), embeddinggemma, mxbai-embed-large, arctic-embed 2,
    e5, multilingual-e5-large-instruct, qwen3-embedding, paraphrase-multilingual. With other texts of their authors: bge
    (FlagOpen/FlagEmbedding, README files), snowflake-arctic-embed (Snowflake-Labs/arctic-embed, README), mxbai-embed-2d
    and -xsmall (mixedbread.com/docs). Not compared: all-minilm.
    """

    names: re.Pattern[str]
    """Matches the whole name of a model without host, namespace and tag, in lower case."""
    prefixes: Prefixes
    source: str


def _family(names: str, source: str, prefixes: Prefixes) -> Family:
    return Family(re.compile(names), prefixes, f"https://{source}")


FAMILIES = (
    _family(
        r"nomic-embed-text(-.*)?",  # v1, v1.5 and v2-moe
        "huggingface.co/nomic-ai/nomic-embed-text-v1.5",
        {
            "query": "search_query: ",
            "document": "search_document: ",
            "classification": "classification: ",
            "clustering": "clustering: ",
        },
    ),
    _family(
        r"embeddinggemma(-.*)?",
        "huggingface.co/google/embeddinggemma-300m",
        {
            "query": "task: search result | query: ",
            "document": "title: none | text: ",
            "classification": "task: classification | query: ",
            "clustering": "task: clustering | query: ",
        },
    ),
    _family(r"mxbai-embed-(large|2d-large)(-.*)?", "huggingface.co/mixedbread-ai/mxbai-embed-large-v1", SEARCH_QUERY),
    _family(r"mxbai-embed-xsmall(-.*)?", "huggingface.co/mixedbread-ai/mxbai-embed-xsmall-v1", NONE),
    _family(
        r"snowflake-arctic-embed(2|-[lm]-v2\.0)(-.*)?",
        "huggingface.co/Snowflake/snowflake-arctic-embed-l-v2.0",
        {"query": "query: ", "document": ""},
    ),
    _family(
        r"snowflake-arctic-embed(-(xs|s|m|m-long|l))?(-v1\.5)?(-gguf)?",
        "huggingface.co/Snowflake/snowflake-arctic-embed-m-v1.5",
        {"query": SEARCH_QUERY["query"], "document": ""},
    ),
    _family(r"bge-m3(-.*)?", "huggingface.co/BAAI/bge-m3", NONE),
    _family(r"bge-(small|base|large)(-en)?(-v1\.5)?(-gguf)?", "huggingface.co/BAAI/bge-large-en-v1.5", SEARCH_QUERY),
    _family(
        r"bge-(small|base|large)-zh(-v1\.5)?(-gguf)?",
        "huggingface.co/BAAI/bge-large-zh-v1.5",
        {**NONE, "query": "为这个句子生成表示以用于检索相关文章："},  # noqa: RUF001 - the colon is that of the model card
    ),
    _family(
        r"multilingual-e5-large-instruct(-.*)?",
        "huggingface.co/intfloat/multilingual-e5-large-instruct",
        {"query": f"{WEB_SEARCH} ", "document": ""},
    ),
    _family(
        r"(multilingual-)?e5-(small|base|large)(-v2)?(-gguf)?",
        "huggingface.co/intfloat/multilingual-e5-large",
        {"query": "query: ", "document": "passage: ", "classification": "query: ", "clustering": "query: "},
    ),
    _family(
        r"qwen3-embedding(-.*)?",
        "huggingface.co/Qwen/Qwen3-Embedding-0.6B",
        {"query": WEB_SEARCH, "document": ""},
    ),
    _family(r"all-minilm(-.*)?", "huggingface.co/sentence-transformers/all-MiniLM-L6-v2", NONE),
    _family(
        r"paraphrase-multilingual(-.*)?",
        "huggingface.co/sentence-transformers/paraphrase-multilingual-mpnet-base-v2",
        NONE,
    ),
)


def parse_prefixes(value: object) -> object:
    """Parse and check the setting: JSON of model → input type → prefix.

    Raises:
        ValueError: if it is anything else.
    """
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            raise ValueError(WANTED) from None
    if value is None:
        return None
    if not isinstance(value, dict) or not all(map(_are_prefixes, value.values())):
        raise ValueError(WANTED)
    for name in value:
        ModelName.parse(name)
    return value


def known_prefixes(model: str, extra: Mapping[str, Prefixes]) -> Prefixes | None:
    """Return the prefixes of a model by input type; None if neither `extra` nor its name determines them.

    A name without a tag in `extra` matches all tags of the model; a name with a tag has priority.

    Raises:
        ValueError: if it is not a valid model name.
    """
    wanted = ModelName.parse(model)
    family = next((family.prefixes for family in FAMILIES if family.names.fullmatch(wanted.model)), None)
    given = [(_has_tag(name), prefixes) for name, prefixes in extra.items() if _stands_for(name, wanted)]
    if family is None and not given:
        return None
    found: dict[str, str] = dict(family or {})
    for _, prefixes in sorted(given, key=lambda one: one[0]):
        found |= prefixes
    return found


def with_prefix(text: str, prefix: str) -> str:
    """Return the text with the prefix, unless it already starts with it, or with an instruction or title of its own."""
    bare = prefix.strip()
    if not bare:
        return prefix + text
    start = text.lstrip() if text[:1].isspace() else text
    if start[: len(bare)].casefold() == bare.casefold():
        return text
    form = _own_form(prefix)
    return text if form is not None and form.match(text) else prefix + text


@lru_cache(maxsize=64)
def _own_form(prefix: str) -> re.Pattern[str] | None:
    return next((form for form in OWN_FORMS if form.match(prefix)), None)


def _are_prefixes(value: object) -> bool:
    return isinstance(value, dict) and all(
        name in INPUT_TYPES and isinstance(prefix, str) for name, prefix in value.items()
    )


def _has_tag(name: str) -> bool:
    return ":" in name.rpartition("/")[2]


def _stands_for(name: str, wanted: ModelName) -> bool:
    given = ModelName.parse(name)
    return given == (wanted if _has_tag(name) else wanted._replace(tag=given.tag))
