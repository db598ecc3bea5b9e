"""Images in requests: base64 text as serialisers write it, made into the form that Ollama takes."""

import string

_ALPHABET = (string.ascii_letters + string.digits + "+/").encode()
_SPACE = string.whitespace.encode()
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_PERCENT_ENCODED = {b"%2B": b"+", b"%2b": b"+", b"%2F": b"/", b"%2f": b"/", b"%3D": b"=", b"%3d": b"="}
_MAX_PERCENT_ENCODED = 500_000
_URL_SCHEMES = ("http:", "https:", "file:", "ftp:", "blob:", "content:")
_LONGEST_PREFIX = 200
_MAX_PADDING = 2
_FEW = 100

WANTED = "an image is base64 text, with or without a data: prefix"


def plain_base64(image: object) -> str:
    """Return an image as padded standard base64 without line breaks, which is what Ollama decodes.

    Takes line breaks and other white space, the URL-safe alphabet, missing padding, and `data:` URLs.

    Raises:
        ValueError: if it is anything else.
    """
    if not isinstance(image, str):
        msg = f"{WANTED}, not a list or an object of bytes; in JavaScript: Buffer.from(bytes).toString('base64')"
        raise ValueError(msg)  # noqa: TRY004 - pydantic turns only this one into a complaint
    start = image[:_LONGEST_PREFIX].lstrip().lower()
    if start.startswith(_URL_SCHEMES):
        msg = f"{WANTED}; a URL is not fetched"
        raise ValueError(msg)
    text = _after_data_prefix(image) if start.startswith("data:") else image
    try:
        data = text.encode("ascii")
    except UnicodeEncodeError:
        raise ValueError(WANTED) from None
    unusual = data.translate(None, _ALPHABET)
    is_changed = len(unusual) > _MAX_PADDING or unusual.strip(b"=") != b""
    if is_changed:
        del text  # images are large
        data, unusual = _normalized(data, unusual)
    length = len(data) - len(unusual)
    padding = b"=" * (-length % 4)
    if not length or length % 4 == 1 or len(unusual) > _MAX_PADDING or not data.endswith(unusual):
        raise ValueError(WANTED)
    if unusual != padding:
        return (data.rstrip(b"=") + padding).decode()
    return data.decode() if is_changed else text


def _after_data_prefix(url: str) -> str:
    header, _, text = url.partition(",")
    if not header.rstrip().lower().endswith(";base64"):
        msg = f"{WANTED}; this data: URL is not base64"
        raise ValueError(msg)
    return text


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
