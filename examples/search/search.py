"""Answer questions from your own texts: embed them, store the vectors, find the nearest, ask a model.

python search.py add notes.txt           # texts, with blank lines between them
python search.py ask "Who should I pick up?"
"""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import NAMESPACE_OID, uuid5

import numpy as np
from tqdm import tqdm

SERVICE_URL = (os.environ.get("SERVICE_URL") or "http://127.0.0.1:8000").rstrip("/")
SERVICE_KEY = os.environ.get("SERVICE_KEY")
WEAVIATE_URL = (os.environ.get("WEAVIATE_URL") or "").rstrip("/")
WEAVIATE_API_KEY = os.environ.get("WEAVIATE_API_KEY")
BATCH, NEAREST, TIMEOUT_SECONDS = 64, 3, 330
INSTRUCTIONS = "Answer in a few sentences, and only from these notes. Say so if they do not answer the question.\n\n"


class FileStore:
    """Vectors in a local file."""

    def __init__(self, name: str) -> None:
        self._path = Path(f"{name}.npz")
        self._vectors: dict[str, Any] = {}
        if self._path.exists():
            with np.load(self._path) as stored:
                self._vectors = dict(zip(json.loads(str(stored["texts"])), stored["vectors"], strict=True))

    def add(self, texts: list[str], vectors: list[list[float]]) -> None:
        """Store texts with their vectors; a text that is there already gets its new one."""
        self._vectors |= zip(texts, vectors, strict=True)
        np.savez(self._path, texts=json.dumps(list(self._vectors)), vectors=list(self._vectors.values()))

    def nearest(self, vector: list[float]) -> list[tuple[float, str]]:
        """Return similarities and texts, nearest first; at unit length a dot product is the cosine."""
        found = [(float(np.dot(known, vector)), text) for text, known in self._vectors.items()]
        return sorted(found, reverse=True)[:NEAREST]


class WeaviateStore:
    """Vectors in a class of a Weaviate without a vectorizer."""

    def __init__(self, name: str) -> None:
        self.name = name
        if name not in [known["class"] for known in call(f"{WEAVIATE_URL}/v1/schema", WEAVIATE_API_KEY)["classes"]]:
            new = {"class": name, "vectorizer": "none", "properties": [{"name": "text", "dataType": ["text"]}]}
            call(f"{WEAVIATE_URL}/v1/schema", WEAVIATE_API_KEY, new)

    def add(self, texts: list[str], vectors: list[list[float]]) -> None:
        """Store texts with their vectors; the id follows from the text, so that none is there twice."""
        objects = [
            {"class": self.name, "id": str(uuid5(NAMESPACE_OID, text)), "properties": {"text": text}, "vector": vector}
            for text, vector in zip(texts, vectors, strict=True)
        ]
        for stored in call(f"{WEAVIATE_URL}/v1/batch/objects", WEAVIATE_API_KEY, {"objects": objects}):
            if errors := stored["result"].get("errors"):
                sys.exit(f"Weaviate refused a text: {errors}")

    def nearest(self, vector: list[float]) -> list[tuple[float, str]]:
        """Return similarities and texts, nearest first."""
        where = f"nearVector: {{vector: {json.dumps(vector)}}}, limit: {NEAREST}"
        query = {"query": f"{{Get {{{self.name}({where}) {{text _additional {{distance}}}}}}}}"}
        answer = call(f"{WEAVIATE_URL}/v1/graphql", WEAVIATE_API_KEY, query)
        if errors := answer.get("errors"):
            sys.exit(f"Weaviate refused the question: {errors}")
        return [(1 - found["_additional"]["distance"], found["text"]) for found in answer["data"]["Get"][self.name]]


def call(url: str, key: str | None, body: Any = None) -> Any:
    """Send JSON, if there is any, and return the JSON of the answer."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    data = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(Request(url, data, headers), timeout=TIMEOUT_SECONDS) as answer:
            return json.load(answer)
    except HTTPError as error:
        sys.exit(f"{url}: {error.code} {error.read().decode()}")
    except (OSError, ValueError) as error:  # it cannot be reached, or its answer is not JSON
        sys.exit(f"{url}: {error}")


def embed(texts: list[str], input_type: str) -> tuple[FileStore | WeaviateStore, list[list[float]]]:
    """Return the vectors, and the store for their model and length: others cannot be compared with them."""
    answer = call(f"{SERVICE_URL}/api/ollama/embeddings", SERVICE_KEY, {"text": texts, "input_type": input_type})
    name = f"Notes_{re.sub(r'[^0-9A-Za-z]', '_', answer['model'])}_{answer['dimension']}"
    return (WeaviateStore(name) if WEAVIATE_URL else FileStore(name)), answer["embeddings"]


def main() -> None:
    """Add the texts of a file, or answer a question."""
    command, what = sys.argv[1:] if len(sys.argv) == 3 and sys.argv[1] in {"add", "ask"} else sys.exit(__doc__)
    if command == "add":
        written = Path(what).read_text("utf-8") if Path(what).is_file() else ""
        texts = [text for part in re.split(r"\n\s*\n", written) if (text := part.strip())]
        if not texts:
            sys.exit(f"There are no texts in {what}.")
        for start in tqdm(range(0, len(texts), BATCH), unit="batch"):
            store, vectors = embed(texts[start : start + BATCH], "document")
            store.add(texts[start : start + BATCH], vectors)
    else:
        store, (vector,) = embed([what], "query")
        found = store.nearest(vector) or sys.exit("No texts are stored for this model: add some first.")
        notes = {"role": "system", "content": INSTRUCTIONS + "\n\n".join(text for _, text in found)}
        body = {"messages": [notes, {"role": "user", "content": what}]}
        answer = call(f"{SERVICE_URL}/api/ollama/chat", SERVICE_KEY, body)
        print(answer["response"], *(f"[{similarity:.2f}] {text}" for similarity, text in found), sep="\n\n")


if __name__ == "__main__":
    main()
