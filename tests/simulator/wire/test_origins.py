"""Origins and hosts that are rejected."""

import aiohttp
import pytest


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://shop.example"}, 403),
        ({"Host": "ollama.example"}, 403),
        ({"Origin": "http://localhost:3000"}, 200),
        ({"Origin": "app://x"}, 200),
        ({"Host": "box.internal"}, 200),
    ],
)
async def test_foreign_origins_and_hosts_get_an_empty_403(
    client: aiohttp.ClientSession, headers: dict[str, str], status: int
) -> None:
    async with client.get("/api/version", headers=headers) as response:
        assert response.status == status
        assert (await response.read() == b"") == (status == 403)
