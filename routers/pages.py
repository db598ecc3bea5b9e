"""The pages for people: landing page, API documentation, playground; everything they load is served here."""

from pathlib import Path
from string import Template

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from config import Settings

PAGES = Path(__file__).parent.parent / "pages"
HEADERS = {
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "form-action": "'none'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
# Redoc writes its styles into the page, and searches in a worker that it makes itself.
REDOC_POLICY = POLICY | {"style-src": "'self' 'unsafe-inline'", "worker-src": "blob:"}

PLAYGROUND_LINK = ("playground", "Playground", "Write to a model, watch it answer, compare texts.")
DOCS_LINKS = (
    ("docs", "API documentation", "Every endpoint with examples that can be sent from the page."),
    ("redoc", "API reference", "The same, laid out for reading."),
    ("openapi.json", "openapi.json", "The same, for code generators."),
)
HEALTH_LINK = ("health", "Health", "The state of the service, of Ollama and its queue.")


class Assets(StaticFiles):
    """What the pages load."""

    async def get_response(self, path: str, scope: dict[str, object]) -> Response:  # type: ignore[override]
        """Return a file, to be asked for again whenever it is needed: its name does not tell its version."""
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response


def pages_router(settings: Settings, version: str) -> APIRouter:
    """Return the routes of the pages that the settings do not switch off."""
    router = APIRouter(include_in_schema=False)
    links = [HEALTH_LINK]
    if settings.docs_enabled:
        links = [*DOCS_LINKS, *links]
        _add_page(router, "/docs", "docs.html")
        _add_page(router, "/redoc", "redoc.html", REDOC_POLICY)
    if settings.playground_enabled:
        links = [PLAYGROUND_LINK, *links]
        _add_page(router, "/playground", "playground.html")

    template = Template((PAGES / "landing.html").read_text())
    landing = template.substitute(version=version, links="\n".join(_card(*link) for link in links))

    @router.api_route("/", methods=["GET", "HEAD"])
    async def landing_page() -> HTMLResponse:
        return HTMLResponse(landing, headers=_headers(POLICY))

    router.mount("/assets", Assets(directory=PAGES / "assets"))
    return router


def page_paths(settings: Settings) -> frozenset[str]:
    """Return the paths of the pages and what they load, all that is below it where one ends with a slash."""
    docs = {"/docs", "/redoc", "/openapi.json"} if settings.docs_enabled else set()
    playground = {"/playground"} if settings.playground_enabled else set()
    return frozenset({"/", "/assets/"} | docs | playground)


def _add_page(router: APIRouter, path: str, file: str, policy: dict[str, str] = POLICY) -> None:
    async def page(_request: Request) -> FileResponse:
        return FileResponse(PAGES / file, headers=_headers(policy), media_type="text/html; charset=utf-8")

    async def without_slash(_request: Request) -> Response:
        return RedirectResponse(f"..{path}", 308)

    router.add_route(path, page, methods=["GET"], include_in_schema=False)
    # what a page loads is named relative to it, and would not be found from below it
    router.add_route(f"{path}/", without_slash, methods=["GET"], include_in_schema=False)


def _headers(policy: dict[str, str]) -> dict[str, str]:
    return HEADERS | {"Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items())}


def _card(path: str, name: str, text: str) -> str:
    return f'      <li><a href="{path}"><strong>{name}</strong> <span>{text}</span></a></li>'
