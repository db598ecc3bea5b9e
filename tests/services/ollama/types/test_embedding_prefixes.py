import pytest

from services.ollama.types.embedding_prefixes import FAMILIES, INPUT_TYPES, known_prefixes, parse_prefixes, with_prefix

SEARCH = "Represent this sentence for searching relevant passages: "
INSTRUCT = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"


@pytest.mark.parametrize(
    ("model", "query", "document"),
    [
        ("nomic-embed-text", "search_query: ", "search_document: "),
        ("nomic-embed-text:v1.5", "search_query: ", "search_document: "),
        ("nomic-embed-text-v2-moe", "search_query: ", "search_document: "),
        ("hf.co/nomic-ai/nomic-embed-text-v1.5-GGUF:Q8_0", "search_query: ", "search_document: "),
        ("embeddinggemma:300m", "task: search result | query: ", "title: none | text: "),
        ("mxbai-embed-large", SEARCH, ""),
        ("mxbai-embed-2d-large-v1", SEARCH, ""),
        ("mxbai-embed-xsmall-v1", "", ""),
        ("deepset-mxbai-embed-de-large-v1", None, None),
        ("snowflake-arctic-embed:22m", SEARCH, ""),
        ("snowflake-arctic-embed2", "query: ", ""),
        ("hf.co/Snowflake/snowflake-arctic-embed-m-v2.0", "query: ", ""),
        ("bge-m3", "", ""),
        ("bge-large", SEARCH, ""),
        ("jeffh/intfloat-multilingual-e5-large-instruct", None, None),
        ("multilingual-e5-large-instruct", f"{INSTRUCT} ", ""),
        ("e5-base-v2", "query: ", "passage: "),
        ("multilingual-e5-small", "query: ", "passage: "),
        ("Qwen3-Embedding:0.6b", INSTRUCT, ""),
        ("all-minilm:33m", "", ""),
        ("bge-reranker-large", None, None),
        ("gpt-oss", None, None),
        ("my-nomic-embed-text", None, None),
    ],
)
def test_a_family_is_known_by_the_name_of_its_models(model: str, query: str | None, document: str | None) -> None:
    prefixes = known_prefixes(model, {})
    if query is None:
        assert prefixes is None
        return
    assert prefixes is not None
    assert prefixes["document"] == document
    assert prefixes["query"] == query


def test_every_family_has_query_document_and_a_model_card() -> None:
    for family in FAMILIES:
        assert {"query", "document"} <= family.prefixes.keys() <= set(INPUT_TYPES)
        assert family.source.startswith("https://huggingface.co/")


def test_an_input_type_that_the_model_card_does_not_mention_has_no_prefix() -> None:
    prefixes = known_prefixes("qwen3-embedding", {})
    assert prefixes is not None
    assert "clustering" not in prefixes


@pytest.mark.parametrize(
    ("model", "query", "document"),
    [
        ("my-model:v2", "any: ", None),
        ("my-model:tuned", "tuned: ", None),
        ("MY-MODEL:latest", "any: ", None),
        ("acme/my-model", None, None),
        ("nomic-embed-text", "find: ", "search_document: "),
    ],
)
def test_the_setting_adds_and_overrides_prefixes(model: str, query: str | None, document: str | None) -> None:
    extra = {
        "my-model:tuned": {"query": "tuned: "},
        "my-model": {"query": "any: "},
        "nomic-embed-text": {"query": "find: "},
    }
    prefixes = known_prefixes(model, extra) or {}
    assert (prefixes.get("query"), prefixes.get("document")) == (query, document)


@pytest.mark.parametrize(
    ("text", "prefix", "sent"),
    [
        ("a trade", "query: ", "query: a trade"),
        ("query: a trade", "query: ", "query: a trade"),
        ("query:a trade", "query: ", "query:a trade"),
        ("  \nquery: a trade", "query: ", "  \nquery: a trade"),
        ("Search_Query: a trade", "search_query: ", "Search_Query: a trade"),
        ("queries: a trade", "query: ", "query: queries: a trade"),
        ("Instruct: Find the rule\nQuery:a trade", INSTRUCT, "Instruct: Find the rule\nQuery:a trade"),
        ("Instruct: the new staff", INSTRUCT, f"{INSTRUCT}Instruct: the new staff"),
        ("title: Trades | text: a trade", "title: none | text: ", "title: Trades | text: a trade"),
        ("title: Trades", "title: none | text: ", "title: none | text: title: Trades"),
        ("task: fact checking | query: a", "task: search result | query: ", "task: fact checking | query: a"),
        ("a" * 100_000, "query: ", "query: " + "a" * 100_000),
        ("a trade", "", "a trade"),
        ("a trade", " ", " a trade"),
    ],
)
def test_a_prefix_is_not_repeated(text: str, prefix: str, sent: str) -> None:
    assert with_prefix(text, prefix) == sent


@pytest.mark.parametrize(
    "value",
    ["search: ", "[]", '{"m": "search: "}', '{"m": {"search": "a"}}', '{"m": {"query": 1}}', '{"m:": {"query": "a"}}'],
)
def test_invalid_values_of_the_setting_are_rejected(value: str) -> None:
    with pytest.raises(ValueError, match=r"a JSON object such as|a model name"):
        parse_prefixes(value)
