"""Base64 images in requests, normalized to the form that Ollama accepts."""

import string

_ALPHABET = (string.ascii_letters + string.digits + "+/").encode()
_SPACE = string.whitespace.encode()
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_PERCENT_ENCODED = {b"%2B": b"+", b"%2b": b"+", b"%2F": b"/", b"%2f": b"/", b"%3D": b"=", b"%3d": b"="}
_MAX_PERCENT_ENCODED = 500_000
_URL_SCHEMES = (b"http:", b"https:", b"file:", b"ftp:", b"blob:", b"content:")
_LONGEST_SCHEME = 100
_LONGEST_ENCODING = 100
_MAX_PADDING = 2
_FEW = 100

WANTED = "an image is base64 text, with or without a data: prefix"


def plain_base64(image: object) -> str:
    """Return an image as padded standard base64 without line breaks, as Ollama requires.

    Accepts line breaks and other white space, the URL-safe alphabet, missing padding, and `data:` URLs.

    Raises:
        ValueError: if it is anything else.
    """
    if not isinstance(image, str):
        msg = f"{WANTED}, not a list or an object of bytes; in JavaScript: Buffer.from(bytes).toString('base64')"
        raise ValueError(msg)  # noqa: TRY004 - pydantic reports only ValueError as a validation error
    try:
        data = image.encode("ascii")
    except UnicodeEncodeError:
        raise ValueError(WANTED) from None
    unusual = data.translate(None, _ALPHABET)
    is_changed = len(unusual) > _MAX_PADDING or unusual.strip(b"=") != b""
    if is_changed:
        data, unusual = _normalized(*_without_prefix(data, unusual))
    length = len(data) - len(unusual)
    padding = b"=" * (-length % 4)
    if not length or length % 4 == 1 or len(unusual) > _MAX_PADDING or not data.endswith(unusual):
        raise ValueError(WANTED)
    if unusual != padding:
        return (data.rstrip(b"=") + padding).decode()
    return data.decode() if is_changed else image


def _without_prefix(data: bytes, unusual: bytes) -> tuple[bytes, bytes]:
    """Return what follows a `data:` prefix, with its unusual characters."""
    start = data[:_LONGEST_SCHEME].lstrip().lower()
    if start.startswith(_URL_SCHEMES):
        msg = f"{WANTED}; a URL is not fetched"
        raise ValueError(msg)
    if not start.startswith(b"data:"):
        return data, unusual
    comma = data.find(b",")
    if comma < 0 or not data[max(comma - _LONGEST_ENCODING, 0) : comma].rstrip().lower().endswith(b";base64"):
        msg = f"{WANTED}; this data: URL is not base64"
        raise ValueError(msg)
    return data[comma + 1 :], unusual[unusual.find(b",") + 1 :]


def _normalized(data: bytes, unusual: bytes) -> tuple[bytes, bytes]:
    """Return base64 without white space and percent-encoding, in the standard alphabet; and its padding."""
    if len(unusual) > len(data) // 2 + _FEW:
        raise ValueError(WANTED)
    if unusual.translate(None, _SPACE) != unusual:
        data = data.translate(None, _SPACE)
    if b"-" in unusual or b"_" in unusual:
        data = data.translate(_URL_SAFE)
    if unusual.count(b"%") in range(1, _MAX_PERCENT_ENCODED):
        for code, char in _PERCENT_ENCODED.items():
            data = data.replace(code, char)
        unusual = data.translate(None, _ALPHABET)
    unusual = unusual.translate(None, _SPACE + b"-_")
    if unusual.strip(b"="):
        raise ValueError(WANTED)
    return data, unusual
