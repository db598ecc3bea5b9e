import logging
from urllib.parse import urlsplit

from services.errors import OllamaError
from services.ollama_service import OllamaService

logger = logging.getLogger(__name__)


async def report_upstream(service: OllamaService) -> None:
    """Log which Ollama is used, whether it answers, and what is missing there."""
    parts = urlsplit(service.settings.ollama_base_url)
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    try:
        health = await service.health()
    except OllamaError:
        logger.warning("Ollama at %s does not answer; the service goes on and tries again at each request", address)
        return
    logger.info("Ollama at %s answers, version %s", address, health.version)
    for name, is_installed in (await service.configured_models()).items():
        if is_installed is False:
            logger.warning("model %s is missing: ollama pull %s", name, name)
