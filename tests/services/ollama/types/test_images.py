import base64

import pytest

from services.ollama.types.images import plain_base64

IMAGE = bytes(range(256)) + b"\xff\xfe\xfb"  # has + and / in base64
PLAIN = base64.b64encode(IMAGE).decode()
URL_SAFE = base64.urlsafe_b64encode(IMAGE).decode()
PADDED = base64.b64encode(IMAGE[:-1]).decode()


@pytest.mark.parametrize(
    "written",
    [
        PLAIN,
        base64.encodebytes(IMAGE).decode(),
        PLAIN + "\n",
        PLAIN + "\r\n",
        "\r\n".join(PLAIN[at : at + 76] for at in range(0, len(PLAIN), 76)),
        f" {PLAIN} ",
        URL_SAFE,
        f"data:image/png;base64,{PLAIN}",
        f"DATA:image/PNG;BASE64,{PLAIN}",
        f"Data:;base64,{PLAIN}",
        f"data:image/png;base64, {PLAIN}",
        f"data:image/png;base64,\n{base64.encodebytes(IMAGE).decode()}",
        f"data:image/png;name=a.png;charset=utf-8; base64,{PLAIN}".replace("; base64", ";base64"),
        "data:image/png;base64," + PLAIN.replace("+", "%2B").replace("/", "%2f"),
        f"\n data:image/png;base64,{URL_SAFE}",
    ],
    ids=range(15),
)
def test_images_are_normalized_to_standard_base64(written: str) -> None:
    assert plain_base64(written) == PLAIN


@pytest.mark.parametrize("cut", [0, 1, 2])
@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_padding_is_completed(cut: int, prefix: str, length: int) -> None:
    whole = base64.b64encode(IMAGE[:length]).decode()
    written = whole[: len(whole) - cut] if whole.endswith("=" * cut) else whole
    assert plain_base64(prefix + written) == whole


def test_percent_encoded_padding_is_accepted() -> None:
    assert plain_base64("data:image/png;base64," + PADDED.replace("=", "%3D")) == PADDED


@pytest.mark.parametrize(
    "url", ["http://example.org/a.png", "HTTPS://example.org/a.png", " file:///a.png", "blob:http://example.org/1"]
)
def test_a_url_is_rejected_with_the_reason(url: str) -> None:
    with pytest.raises(ValueError, match="a URL is not fetched"):
        plain_base64(url)


@pytest.mark.parametrize("url", ["data:", "data:image/svg+xml,%3Csvg%3E", "data:image/png,AAAA", "data:base64"])
def test_a_data_url_without_base64_is_rejected_with_the_reason(url: str) -> None:
    with pytest.raises(ValueError, match="data: URL is not base64"):
        plain_base64(url)


@pytest.mark.parametrize(
    "value",
    [[137, 80], {"type": "Buffer", "data": [137, 80]}, {"0": 137}, 137, None, {"image_url": {"url": "a"}}],
    ids=str,
)
def test_lists_of_bytes_are_rejected_with_what_to_send(value: object) -> None:
    with pytest.raises(ValueError, match=r"not a list or an object of bytes; in JavaScript: Buffer\.from"):
        plain_base64(value)


NO_IMAGES = [
    "",
    " ",
    "\n",
    "a",
    "=",
    "====",
    "A===",
    "AA=A",
    "AAAA====",
    "AA==AA==",
    "not base64!",
    "é",
    "AAA\u2028",
    "AAA\0",
]
NO_IMAGES += ["data:image/png;base64,", "data:image/png;base64,a", "data:image/png;base64,%%%%"]
NO_IMAGES += ["-" * 1000 + "!", "!" * 1000]


@pytest.mark.parametrize("text", NO_IMAGES)
def test_invalid_base64_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="base64 text"):
        plain_base64(text)
