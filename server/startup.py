"""Startup and shutdown of the app: its lifespan, and the log lines about settings and Ollama."""

import asyncio
import logging
import multiprocessing
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path

from fastapi import FastAPI
from pydantic import SecretStr

from config import Settings, unknown_settings
from configuration.addresses import without_credentials
from server.listening import is_loopback
from server.observability.logging import configure_logging
from server.observability.metrics import Metrics
from server.shutdown import Shutdown
from services.components import ComponentChecks
from services.ollama.errors import OllamaError
from services.ollama_service import OllamaService

logger = logging.getLogger(__name__)

PROBE_SECONDS = 15.0

SHORT_KEY_LENGTH = 16


def log_settings(settings: Settings, files: Sequence[Path]) -> None:
    """Log which `.env` files were read, all settings that differ from their defaults, and whether API keys are set.

    `files` are the paths that may exist; empty if the settings were passed by the caller.
    """
    if files:
        read = " and ".join(str(path) for path in files if path.exists())
        logger.info("settings from the environment and %s", read or "no .env file")
        for warning in unknown_settings(files):
            logger.warning("%s", warning)
    changed = [
        f"{name.upper()}={_shown(getattr(settings, name))}"
        for name, field in Settings.model_fields.items()
        if getattr(settings, name) != field.default
    ]
    logger.info("settings that differ from the defaults: %s", " ".join(changed) or "none")
    _report_keys(settings)


def _report_keys(settings: Settings) -> None:
    if not settings.api_keys:
        if not is_loopback(settings.host):
            logger.warning("no API_KEYS are set: anyone who can reach %s can use the service", settings.host)
        else:
            logger.info("no API_KEYS are set: any program on this machine can use the service")
        return
    logger.info("API keys are required: %d are set", len(settings.api_keys))
    if any(len(key.get_secret_value()) < SHORT_KEY_LENGTH for key in settings.api_keys):
        logger.warning("an API key is shorter than %d characters and could be guessed", SHORT_KEY_LENGTH)


def _shown(value: object) -> str:
    match value:
        case SecretStr():
            return "(secret)"
        case tuple():
            return f"({len(value)} secrets)" if isinstance(value[0], SecretStr) else ",".join(map(str, value))
        case str() if "://" in value:
            return without_credentials(value)
        case _:
            return str(value)


def end_with_supervisor() -> None:
    """Stop this worker process when its parent process ends; a no-op in other processes."""
    supervisor = multiprocessing.parent_process()
    if supervisor is None or sys.platform == "win32":
        return
    loop = asyncio.get_running_loop()
    sentinel = supervisor.sentinel

    def end() -> None:
        loop.remove_reader(sentinel)
        signal.raise_signal(signal.SIGTERM)

    loop.add_reader(sentinel, end)


async def log_upstream(service: OllamaService) -> None:
    """Log the URL and version of Ollama, and the configured models that are not installed."""
    address = without_credentials(service.settings.ollama_base_url)
    try:
        health = await service.health()
    except OllamaError:
        logger.warning("Ollama at %s does not respond; the service will try again with each request", address)
        return
    logger.info("connected to Ollama at %s, version %s", address, health.version)
    for name, is_installed in (await service.configured_models()).items():
        if is_installed is False:
            logger.warning("model %s is not installed; run `ollama pull %s`", name, name)


async def watch_upstream(service: OllamaService) -> None:
    """Probe Ollama at intervals, so that metrics and the circuit breaker are right although nobody asks for it."""
    await log_upstream(service)
    while True:
        await asyncio.sleep(PROBE_SECONDS)
        await service.health_check()


def lifespan(
    service: OllamaService,
    checks: ComponentChecks,
    shutdown: Shutdown,
    env_files: Sequence[Path],
    metrics: Metrics | None,
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Return the app's lifespan: logging and connections on startup, signal handling, disconnect on shutdown."""

    @asynccontextmanager
    async def run(_app: FastAPI) -> AsyncIterator[None]:
        configure_logging(service.settings)
        end_with_supervisor()
        log_settings(service.settings, env_files)
        await service.connect()
        watch = asyncio.create_task(watch_upstream(service))
        try:
            async with metrics.shared_in_background() if metrics else nullcontext():
                with shutdown.hooked():
                    yield
        finally:
            watch.cancel()
            try:
                await asyncio.wait({watch})
                await checks.close()
            finally:
                await service.disconnect()

    return run
