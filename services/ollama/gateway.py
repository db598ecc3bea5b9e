"""Headers between the service and a gateway in front of several Ollama servers, such as HAProxy.

`X-Served-By` in a response names the server that sent it. In a request it asks for that server. `X-Gateway-Error` in a
503 says why the gateway passed the request to no server: `no-server` or `queue-timeout`.
"""

import re
from collections.abc import Mapping

from services.ollama.error_mapping import error_from_response
from services.ollama.errors import GatewayQueueTimeoutError, OllamaError, OllamaResponseError, OllamaUnavailableError
from services.ollama.retry import parse_retry_after
from services.ollama.types.model_names import ModelName

SERVED_BY = "X-Served-By"
GATEWAY_ERROR = "X-Gateway-Error"
SERVER_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def served_by(headers: Mapping[str, str]) -> str | None:
    """Return the name of the server that sent a response; None without a gateway, or if it is not a plain name."""
    name = headers.get(SERVED_BY, "")
    return name if SERVER_NAME.fullmatch(name) else None


class FromServer:
    """Context in which errors get the server that a response with these headers came from.

    A class, as a generator would cost more.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, OllamaResponseError):
            error.server = served_by(self._headers)


def error_for(status: int, body: bytes, headers: Mapping[str, str]) -> OllamaError:
    """Return the error for a response with this status, body and headers, from Ollama or from a gateway."""
    retry_after = headers.get("Retry-After")
    match (status, headers.get(GATEWAY_ERROR)):
        case 503, "no-server":
            detail = "No Ollama server could be reached."
            return OllamaUnavailableError(detail, retry_after_seconds=parse_retry_after(retry_after))
        case 503, "queue-timeout":
            detail = "No Ollama server became free in time."
            return GatewayQueueTimeoutError(detail, wait_seconds=parse_retry_after(retry_after))
        case _:
            return error_from_response(status, body, retry_after)


def model_header(header: str | None, model: object) -> str:
    """Return the line of a request's head that names its model; empty if there is none.

    All spellings of a name that mean the same model give the same line.
    """
    if header is None or not isinstance(model, str):
        return ""
    try:
        return f"{header}: {ModelName.parse(model).short}\r\n"
    except ValueError:
        return ""


def server_header(server: str | None) -> str:
    """Return the line of a request's head that asks for a server; empty for any server."""
    return "" if server is None else f"{SERVED_BY}: {server}\r\n"
