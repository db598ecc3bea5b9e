"""Validation of addresses in settings: base URLs, listen hosts, CORS origins, allowed hosts, trusted proxies."""

import ipaddress
import re
from urllib.parse import SplitResult, unquote, urlsplit

OLLAMA_PORT = 11434
WEAVIATE_PORT = 8080
LOOPBACK_OF = {"0.0.0.0": "127.0.0.1", "0": "127.0.0.1", "::": "::1"}  # noqa: S104 - replaced here
BASE_URL = "an address such as http://127.0.0.1:11434"
WEAVIATE_URL = "an address such as http://127.0.0.1:8080"
HTTP_URL = "a URL such as http://127.0.0.1:8001/health"
LISTEN_HOST = "an address or a name of this machine, such as 127.0.0.1, 0.0.0.0 or ::, without a scheme or a port"
ORIGIN = "origins as browsers send them, such as https://app.example or http://localhost:3000, or * for any"
HOST_NAME = "host names without scheme and port, such as api.example, *.example or 10.0.0.5, or * for any"
LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
NAME = re.compile(rf"{LABEL}(?:\.{LABEL})*")
ENDPOINT = re.compile(r"/(v1|api/(chat|embed|embeddings|generate|ps|show|tags|version))(/(chat/completions|models))?$")
WEAVIATE_API = re.compile(r"/v1(/\.well-known/(ready|live))?$")
DEFAULT_PORTS = {"http": "80", "https": "443"}
SCHEMES_WITHOUT_ORIGIN = {"file", "ftp", "ws", "wss"}  # browsers send `null` or an http(s) origin for these


def normalize_base_url(text: str) -> str:
    """Return a complete base URL of an Ollama server.

    The default scheme is `http`, the default port 11434 (443 for `https`). Wildcard hosts such as 0.0.0.0 become
    loopback addresses; a trailing `/` or `/api` is removed.

    Raises:
        ValueError: if it is not an http(s) URL.
    """
    parts = _server_address(text, OLLAMA_PORT, BASE_URL)
    path = parts.path.rstrip("/").removesuffix("/api").rstrip("/")
    if ENDPOINT.search(path):
        raise ValueError(f"{BASE_URL}, without the path of an API endpoint")
    return parts._replace(path=path).geturl()


def normalize_weaviate_url(text: str) -> str:
    """Return a complete base URL of a Weaviate: as `normalize_base_url`, with port 8080.

    A trailing `/v1` is removed, also if it is part of the path of a probe.

    Raises:
        ValueError: if it is not an http(s) URL.
    """
    parts = _server_address(text, WEAVIATE_PORT, WEAVIATE_URL)
    return parts._replace(path=WEAVIATE_API.sub("", parts.path.rstrip("/")).rstrip("/")).geturl()


def normalize_http_url(text: str) -> str:
    """Return an http(s) URL with its port; wildcard hosts become loopback addresses.

    Raises:
        ValueError: if it is not an http(s) URL, or has a fragment.
    """
    address, mark, query = text.strip().partition("?")
    if "://" not in address or re.search(r"[^!-~]|#", query):
        raise ValueError(HTTP_URL)
    return _server_address(address, 80, HTTP_URL).geturl() + mark + query


def _server_address(text: str, http_port: int, expected: str) -> SplitResult:
    """Parse the address of an HTTP server; add a missing scheme and port, and replace wildcard hosts."""
    address = text.strip()
    if not address.isprintable() or " " in address:
        raise ValueError(expected)
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        port = (443 if parts.scheme == "https" else http_port) if parts.port is None else parts.port
    except ValueError:
        raise ValueError(expected) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or not port:
        raise ValueError(expected)
    host = _upstream_host(parts.hostname, expected)
    credentials = parts.netloc.rpartition("@")[0]
    try:
        unquote(credentials).encode("latin-1")  # the encoding of the `Authorization` header
    except UnicodeEncodeError:
        raise ValueError(expected) from None
    netloc = f"{credentials}@{host}:{port}" if credentials.strip(":") else f"{host}:{port}"
    return parts._replace(netloc=netloc)


def has_credentials(url: str) -> bool:
    """Return whether a URL contains a user or a password."""
    return "@" in urlsplit(url).netloc


def without_credentials(url: str) -> str:
    """Return the URL without its user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _upstream_host(name: str, expected: str) -> str:
    try:
        ip = ipaddress.ip_address(name)
    except ValueError:
        ip = None
    if ip is not None:
        text = LOOPBACK_OF.get(str(ip), name)
        return f"[{text}]" if ip.version == 6 else text  # noqa: PLR2004 - IP version 6
    if name in {"http", "https"}:  # from typos: http:/host, https//host, http://http://host
        raise ValueError(expected)
    if name in LOOPBACK_OF:
        return LOOPBACK_OF[name]
    if not _is_name(name.removesuffix(".")):
        raise ValueError(expected)
    return name


def _is_name(name: str) -> bool:
    """Return whether a name is a valid host name; four numbers are an invalid address, not a name."""
    try:
        ascii_name = name if name.isascii() else name.encode("idna").decode()
    except UnicodeError:
        return False
    return bool(NAME.fullmatch(ascii_name)) and not re.fullmatch(r"\d+(\.\d+){3}", ascii_name)


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def normalize_listen_host(text: str) -> str:
    """Return the host to listen on; brackets around an IPv6 address are removed.

    Raises:
        ValueError: if it is neither an IP address nor a host name.
    """
    host = text.strip()
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host:
            raise ValueError(LISTEN_HOST)
    if not _is_ip(host) and not _is_name(host.lower().removesuffix(".")):
        raise ValueError(LISTEN_HOST)
    return host


def check_origin(origin: str) -> str:
    """Validate an origin; it must be written exactly as browsers send it in `Origin`, or be `*`.

    Raises:
        ValueError: if no browser sends such an origin.
    """
    match = re.fullmatch(r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[^\[\]/:]+)(?::([1-9][0-9]*))?", origin)
    if origin == "*":
        return origin
    if match is None or match[1] in SCHEMES_WITHOUT_ORIGIN or not _is_canonical_host(match[2]):
        raise ValueError(ORIGIN)
    port = match[3]
    if port is not None and (port == DEFAULT_PORTS.get(match[1]) or int(port) > 65535):  # noqa: PLR2004 - the highest port
        raise ValueError(ORIGIN)
    return origin


def _is_canonical_host(host: str) -> bool:
    if host.startswith("["):
        return _is_ip(host[1:-1]) and str(ipaddress.ip_address(host[1:-1])) == host[1:-1]
    return host.isascii() and (_is_ip(host) or _is_name(host.removesuffix(".")))


def normalize_host_name(text: str) -> str:
    """Normalize an allowed host: lower case, IPv6 addresses in brackets, `*.` in front for all subdomains.

    Raises:
        ValueError: if it is not a host name, an IP address or a wildcard.
    """
    name = text.strip().lower().removesuffix(".")
    address = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    if _is_ip(address):
        return f"[{ipaddress.ip_address(address)}]" if ":" in address else address
    if name != "*" and not (name.isascii() and _is_name(name.removeprefix("*."))):
        raise ValueError(HOST_NAME)
    return name


def check_proxies(text: str) -> str:
    """Validate a list of trusted proxies; uvicorn would silently trust no proxy instead.

    Raises:
        ValueError: if an item is not an IP address or a network, or a network has host bits set.
    """
    parts = [part.strip() for part in text.split(",")]
    if parts != ["*"]:
        for part in parts:
            try:
                ipaddress.ip_network(part) if "/" in part else ipaddress.ip_address(part)
            except ValueError:
                msg = "IP addresses or networks such as 10.0.0.5,10.1.0.0/16, or *"
                raise ValueError(msg) from None
    return ",".join(parts)
