"""Simulated text: deterministic, and recognizable as not from a model."""

import hashlib
import random
import re
from itertools import islice

ANSWER_TOKENS = 40
"""Number of tokens of a response that no limit truncates, without thinking."""
THINKING_TOKENS = 8
"""Number of thinking tokens."""

_VOCABULARY = (
    "the a this every simulated quiet answer word token stream model server café naïve über Zürich "
    "smørrebrød façade señor 東京 дом λόγος → 🙂 follows repeats carries shows nothing something "
    "slowly again within beside before after and or but while reads writes waits ends begins"
)
_WORDS = _VOCABULARY.split()
_NON_ASCII = ("café", "naïve", "Zürich", "東京", "дом", "λόγος", "🙂")
_PIECE = re.compile(r"\s*\S{1,4}")


def random_for(*keys: object) -> random.Random:
    """Return a random number generator seeded with the keys."""
    return random.Random(hashlib.sha256(repr(keys).encode()).digest())


def words(rng: random.Random, count: int) -> list[str]:
    """Return random words as tokens, each with a leading space."""
    return [" " + word for word in rng.choices(_WORDS, k=count)]


def answer_tokens(label: str, rng: random.Random, count: int) -> list[str]:
    """Return the tokens of a response, which starts with `[simulated <label>] `."""
    head = ["[simulated", f" {label}]", " " + rng.choice(_NON_ASCII)]
    return [*islice(head, count), *words(rng, count - len(head))] if count > 0 else []


def thinking_tokens(rng: random.Random, count: int = THINKING_TOKENS) -> list[str]:
    """Return the tokens of the thinking."""
    return ["[simulated", " thinking]", *words(rng, count - 2)]


def tokenize(text: str) -> list[str]:
    """Split a text into tokens of at most four characters with leading white space."""
    pieces = _PIECE.findall(text)
    return pieces if "".join(pieces) == text else [text[at : at + 4] for at in range(0, len(text), 4)]


def count_tokens(text: str) -> int:
    """Count the tokens of a prompt; each word is one."""
    return len(text.split())


def token_ids(text: str) -> list[int]:
    """Return one token id per word, for `context`."""
    return [int.from_bytes(hashlib.blake2b(word.encode(), digest_size=2).digest()) for word in text.split()]


def cut_at_stop(tokens: list[str], stops: list[str]) -> list[str]:
    """Truncate the tokens before the first stop string."""
    text = "".join(tokens)
    found = [at for stop in stops if stop and (at := text.find(stop)) >= 0]
    if not found:
        return tokens
    left, kept = min(found), []
    for token in tokens:
        if left <= 0:
            break
        kept.append(token[:left])
        left -= len(token)
    return kept
