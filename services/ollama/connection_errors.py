"""What aiohttp's connection failures mean."""

import os
import re

import aiohttp

from services.ollama.error_mapping import tls_error
from services.ollama.errors import OllamaError, OllamaResponseError, OllamaUnavailableError
from services.ollama.stream_reader import invalid_response

TLS_ALERT = re.compile(r"b['\"]\\x15\\x03\\x0[0-4]\\x00\\x02[^ ]{1,8}['\"]")
"""How aiohttp shows the seven bytes with which a TLS server answers plain HTTP."""


def map_aiohttp_error(error: Exception) -> OllamaError:
    """Return our error for one of aiohttp's; why exactly is for the log only."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return tls_error(f"certificate: {_tls_reason(error.os_error)}")
        case aiohttp.ClientConnectorSSLError():
            return tls_error(f"TLS: {_tls_reason(error.os_error)}")
        case aiohttp.ClientConnectorError():
            return OllamaUnavailableError("Ollama could not be reached.", log_detail=_network_reason(error))
        case aiohttp.ClientConnectionError():
            return OllamaResponseError("Ollama closed the connection before its answer.")
        case aiohttp.ClientPayloadError():
            return OllamaResponseError("Ollama's answer was cut short.")
    is_tls_alert = TLS_ALERT.search(str(error)) is not None
    return tls_error("the server speaks TLS; the address needs https") if is_tls_alert else invalid_response()


def _tls_reason(error: Exception) -> str:
    reason = getattr(error, "verify_message", None) or getattr(error, "reason", None) or type(error).__name__
    return str(reason).replace("_", " ").lower() if str(reason).isupper() else str(reason)


def _network_reason(error: aiohttp.ClientConnectorError) -> str:
    cause = error.os_error
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"name: {cause.strerror or cause}"
    if isinstance(cause, ConnectionResetError):
        return "TLS: the handshake was cut off"
    return f"network: {os.strerror(cause.errno)}" if cause.errno else f"network: {type(cause).__name__}"
