from starlette.types import Scope


def first_header(scope: Scope, name: bytes) -> bytes:
    """Return the first header of that name, in lower case, or nothing; `Headers` costs a whole chat 7 µs more."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return b""
