from typing import Any

import orjson
from starlette.responses import Response


def json_response(content: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    """Return a JSON response, encoded with orjson."""
    return Response(orjson.dumps(content), headers=headers, media_type="application/json")
