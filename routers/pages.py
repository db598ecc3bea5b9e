"""The HTML pages: landing page, API documentation and playground, with their assets."""

from pathlib import Path
from string import Template

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
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
# Redoc uses inline styles, and searches in a worker that it creates from a blob.
REDOC_POLICY = POLICY | {"style-src": "'self' 'unsafe-inline'", "worker-src": "blob:"}

PLAYGROUND_LINK = (
    "playground",
    "Playground",
    "Chat with a model, compare texts, and copy the conversation as code.",
)
DOCS_LINKS = (
    ("docs", "API documentation", "All endpoints, with examples that can be sent from the page."),
    ("redoc", "API reference", "The same in a layout for reading."),
    ("openapi.json", "openapi.json", "The OpenAPI description, for code generators."),
)
NAVIGATION = {"playground": "Playground", "docs": "API docs", "redoc": "Reference"}
HEALTH_LINK = ("health", "Health", "The state of the service, of Ollama and its queue.")


class Assets(StaticFiles):
    """Static files of the pages."""

    async def get_response(self, path: str, scope: dict[str, object]) -> Response:  # type: ignore[override]
        """Return a file that browsers revalidate before each use, as its name does not change with its content."""
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response


def pages_router(settings: Settings, version: str) -> APIRouter:
    """Return the routes of the pages that the settings enable."""
    router = APIRouter(include_in_schema=False)
    links = [HEALTH_LINK]
    pages = []
    if settings.docs_enabled:
        links = [*DOCS_LINKS, *links]
        pages = ["docs", "redoc"]
    if settings.playground_enabled:
        links = [PLAYGROUND_LINK, *links]
        pages = ["playground", *pages]
    for page in pages:
        _add_page(router, page, pages, REDOC_POLICY if page == "redoc" else POLICY)

    template = Template((PAGES / "landing.html").read_text())
    landing = template.substitute(version=version, links="\n".join(_card(*link) for link in links))

    @router.api_route("/", methods=["GET", "HEAD"])
    async def landing_page() -> HTMLResponse:
        return HTMLResponse(landing, headers=_headers(POLICY))

    router.mount("/assets", Assets(directory=PAGES / "assets"))
    return router


def page_paths(settings: Settings) -> frozenset[str]:
    """Return the paths of the pages and their assets; a path that ends with a slash includes everything below it."""
    docs = {"/docs", "/redoc", "/openapi.json"} if settings.docs_enabled else set()
    playground = {"/playground"} if settings.playground_enabled else set()
    return frozenset({"/", "/assets/"} | docs | playground)


def _add_page(router: APIRouter, name: str, pages: list[str], policy: dict[str, str]) -> None:
    """Add a page with links to the other pages."""
    html = Template((PAGES / f"{name}.html").read_text()).substitute(navigation=_navigation(name, pages))

    async def page(_request: Request) -> HTMLResponse:
        return HTMLResponse(html, headers=_headers(policy))

    async def without_slash(_request: Request) -> Response:
        return RedirectResponse(f"../{name}", 308)

    router.add_route(f"/{name}", page, methods=["GET"], include_in_schema=False)
    # assets have relative URLs, which a trailing slash would break
    router.add_route(f"/{name}/", without_slash, methods=["GET"], include_in_schema=False)


def _navigation(current: str, pages: list[str]) -> str:
    links = []
    for page in pages:
        is_current = ' aria-current="page"' if page == current else ""
        links.append(f'<a href="{page}"{is_current}>{NAVIGATION[page]}</a>')
    return " ".join(links)


def _headers(policy: dict[str, str]) -> dict[str, str]:
    return HEADERS | {"Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items())}


def _card(path: str, name: str, text: str) -> str:
    return f'      <li><a href="{path}"><strong>{name}</strong> <span>{text}</span></a></li>'
