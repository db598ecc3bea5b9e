"""The path of a request within the app: what is left of it without the `root_path` that a server or mount adds."""

from starlette._utils import get_route_path  # the router's own: a check by another reading could be walked around

__all__ = ["get_route_path"]
