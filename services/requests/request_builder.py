"""Request bodies for Ollama: defaults from the settings, and checks before sending."""

from typing import Any

from config import Settings
from services.completion import CompletionRequest
from services.ollama.errors import InvalidRequestError
from services.ollama.types.grammar_harm import Harm, find_harm
from services.ollama.types.json_schema import JsonSchema, resolver


def check_num_ctx(settings: Settings, request: CompletionRequest) -> None:
    """Reject a `num_ctx` that differs from OLLAMA_NUM_CTX, if that is set.

    Raises:
        InvalidRequestError: if it differs.
    """
    num_ctx = settings.ollama_num_ctx
    if num_ctx is not None and request.options.get("num_ctx", num_ctx) != num_ctx:
        detail = f"num_ctx is {num_ctx} for all requests (OLLAMA_NUM_CTX): changing it reloads the model."
        raise InvalidRequestError(detail, field="options.num_ctx")


def check_format(request: CompletionRequest, *, runs_llama_server: bool | None) -> None:
    """Reject a schema that would crash or hang this Ollama version; if the version is unknown (None), one that might.

    Raises:
        InvalidRequestError: if it is rejected, or not a usable schema.
    """
    if not isinstance(request.response_format, dict):
        return
    try:
        request.response_format = schema = JsonSchema.of(request.response_format)
    except ValueError as error:
        raise InvalidRequestError(f"not a usable JSON schema: {error}", field="format") from error
    found = find_harm(schema, resolver(schema))
    if found is None:
        return
    tolerated = {True: Harm.ENDS_SERVER_BEFORE_0_30, False: None, None: Harm.ENDS_RUNNER_BEFORE_0_30}
    worst_tolerated = tolerated[runs_llama_server]
    if worst_tolerated is None or found.harm > worst_tolerated:
        raise InvalidRequestError(f"This version of Ollama does not support {found}.", field="format")


def completion_body(settings: Settings, request: CompletionRequest, model: str, *, stream: bool) -> dict[str, Any]:
    """Return the body of a request to `/api/generate` or `/api/chat`."""
    options = {
        "num_predict": settings.max_tokens,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "frequency_penalty": settings.frequency_penalty,
        "presence_penalty": settings.presence_penalty,
    }
    body = {"model": model, "stream": stream, **request.content, "options": options | request.options}
    if request.response_format is not None:
        body["format"] = request.response_format
    truncate = settings.truncate_prompts if request.truncate is None else request.truncate
    shift = settings.shift_context if request.shift is None else request.shift
    if truncate is not None:
        body["truncate"] = truncate
    if shift is not None:
        body["shift"] = shift
    return with_constants(settings, body, request.keep_alive)


def with_constants(settings: Settings, body: dict[str, Any], keep_alive: float | str | None) -> dict[str, Any]:
    """Add the settings that apply to every request: OLLAMA_NUM_CTX and OLLAMA_KEEP_ALIVE."""
    num_ctx = settings.ollama_num_ctx
    if num_ctx is not None:
        body["options"]["num_ctx"] = num_ctx
    keep_alive = settings.ollama_keep_alive if keep_alive is None else keep_alive
    return body if keep_alive is None else body | {"keep_alive": keep_alive}


def set_constants(settings: Settings, body: dict[str, Any]) -> None:
    """Add OLLAMA_NUM_CTX and OLLAMA_KEEP_ALIVE, if set, to the body of a request of Ollama's own API.

    The request's own `keep_alive` takes precedence. Options of an invalid type are left for Ollama to reject. Ollama's
    field names are case-insensitive.
    """
    if settings.ollama_num_ctx is not None:
        given = [name for name in body if name.casefold() == "options"]
        if all(isinstance(body[name], dict | None) for name in given):
            options: dict[str, Any] = {}
            for name in given:
                options |= body.pop(name) or {}
            body["options"] = options | {"num_ctx": settings.ollama_num_ctx}
    keep_alive = settings.ollama_keep_alive
    if keep_alive is not None and all(body[name] is None for name in body if name.casefold() == "keep_alive"):
        body["keep_alive"] = keep_alive


def requested_model(body: object) -> str | None:
    """Return the model that the body of a request of Ollama's own API names; Ollama reads names in any case."""
    if not isinstance(body, dict):
        return None
    return next((value for name, value in body.items() if name.casefold() == "model" and isinstance(value, str)), None)
