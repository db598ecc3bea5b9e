"""Scrapes of `/metrics`, parsed with Prometheus's own parser."""

from dataclasses import dataclass
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.api import get

REQUESTS = "http_server_request_duration_seconds_count"
OPERATIONS = "gen_ai_client_operation_duration_seconds_count"
FIRST_CHUNKS = "gen_ai_client_operation_time_to_first_chunk_seconds_count"
FIRST_TOKENS = "gen_ai_server_time_to_first_token_seconds"
TOKENS = "gen_ai_client_token_usage_sum"


@dataclass(frozen=True)
class Shown:
    """The samples of one scrape."""

    samples: list[tuple[str, dict[str, str], float]]

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of the samples with these labels, 0 if there are none."""
        return sum(value for _, value in self._matching(name, labels))

    def labels(self, name: str, label: str, **labels: str) -> set[str]:
        """Return the values of one label in the samples that have the others."""
        return {found[label] for found, _ in self._matching(name, labels)}

    def _matching(self, name: str, labels: dict[str, str]) -> list[tuple[dict[str, str], float]]:
        return [(found, value) for it, found, value in self.samples if it == name and labels.items() <= found.items()]


async def scrape(client: aiohttp.ClientSession, url: str, **how: Any) -> Shown:
    """Read `/metrics`."""
    answer = await get(client, f"{url}/metrics", **how)
    assert answer.status == 200
    assert answer.media_type == "text/plain"
    families = text_string_to_metric_families(answer.body.decode())
    return Shown([(it.name, it.labels, it.value) for family in families for it in family.samples])
