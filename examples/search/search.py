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

    def add(self, texts: list[str], vectors: list[list[float]]) -> None:
        """Store texts with their vectors; a text that is there already gets its new one."""
        known = dict(zip(*self._load(), strict=True)) | dict(zip(texts, vectors, strict=True))
        np.savez(self._path, texts=np.array(list(known)), vectors=np.array(list(known.values()), np.float32))

    def nearest(self, vector: list[float]) -> list[tuple[float, str]]:
        """Return similarities and texts, nearest first; at unit length a dot product is the cosine."""
        texts, vectors = self._load()
        similarities = vectors @ np.array(vector, np.float32)
        return [(float(similarities[n]), texts[n]) for n in np.argsort(-similarities)[:NEAREST]]

    def _load(self) -> tuple[list[str], Any]:
        if not self._path.exists():
            return [], np.empty((0, 1), np.float32)
        with np.load(self._path) as stored:
            return stored["texts"].tolist(), stored["vectors"]


class WeaviateStore:
    """Vectors in a class of a Weaviate without a vectorizer."""

    def __init__(self, name: str) -> None:
        self.name = name

    def add(self, texts: list[str], vectors: list[list[float]]) -> None:
        """Store texts with their vectors; the id follows from the text, so that none is there twice."""
        if self.name not in [known["class"] for known in self._call("GET", "schema")["classes"]]:
            self._call("POST", "schema", {"class": self.name, "vectorizer": "none"})
        objects = [
            {"class": self.name, "id": str(uuid5(NAMESPACE_OID, text)), "properties": {"text": text}, "vector": vector}
            for text, vector in zip(texts, vectors, strict=True)
        ]
        for stored in self._call("POST", "batch/objects", {"objects": objects}):
            if errors := stored["result"].get("errors"):
                raise SystemExit(f"Weaviate refused a text: {errors}")

    def nearest(self, vector: list[float]) -> list[tuple[float, str]]:
        """Return similarities and texts, nearest first."""
        where = f"nearVector: {{vector: {json.dumps(vector)}}}, limit: {NEAREST}"
        query = f"{{Get {{{self.name}({where}) {{text _additional {{distance}}}}}}}}"
        answer = self._call("POST", "graphql", {"query": query})
        if errors := answer.get("errors"):
            raise SystemExit(f"Weaviate refused the question: {errors}")
        return [(1 - found["_additional"]["distance"], found["text"]) for found in answer["data"]["Get"][self.name]]

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        return call(method, f"{WEAVIATE_URL}/v1/{path}", WEAVIATE_API_KEY, body)


def call(method: str, url: str, key: str | None, body: Any) -> Any:
    """Send JSON and return the JSON of the answer."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    data = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(Request(url, data, headers, method=method), timeout=TIMEOUT_SECONDS) as answer:
            return json.load(answer)
    except HTTPError as error:
        raise SystemExit(f"{url}: {error.code} {error.read().decode()}") from None


def embed(texts: list[str]) -> tuple[FileStore | WeaviateStore, list[list[float]]]:
    """Return the vectors, and the store for their model: those of two models cannot be compared."""
    answer = call("POST", f"{SERVICE_URL}/api/ollama/embeddings", SERVICE_KEY, {"text": texts})
    name = "Notes_" + re.sub(r"\W", "_", answer["model"])
    return (WeaviateStore(name) if WEAVIATE_URL else FileStore(name)), answer["embeddings"]


def main() -> None:
    """Add the texts of a file, or answer a question."""
    command, what = sys.argv[1:] if len(sys.argv) == 3 and sys.argv[1] in {"add", "ask"} else sys.exit(__doc__)
    if command == "add":
        texts = [text for part in re.split(r"\n\s*\n", Path(what).read_text()) if (text := part.strip())]
        for start in tqdm(range(0, len(texts), BATCH), unit="batch"):
            store, vectors = embed(texts[start : start + BATCH])
            store.add(texts[start : start + BATCH], vectors)
    else:
        store, (vector,) = embed([what])
        found = store.nearest(vector)
        notes = {"role": "system", "content": INSTRUCTIONS + "\n\n".join(text for _, text in found)}
        body = {"messages": [notes, {"role": "user", "content": what}]}
        answer = call("POST", f"{SERVICE_URL}/api/ollama/chat", SERVICE_KEY, body)
        print(answer["response"], *(f"[{similarity:.2f}] {text}" for similarity, text in found), sep="\n\n")


if __name__ == "__main__":
    main()
