"""A researcher and a writer, whose language models are those of the service.

`python crew.py` reads topics from stdin, one a line, and writes a JSON object for each to stdout.
"""

import json
import os
import sys
import tempfile

# crewai reads these on import: no telemetry, storage in a temporary folder
os.environ |= {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "OTEL_SDK_DISABLED": "true",
}
os.environ.setdefault("CREWAI_STORAGE_DIR", os.path.join(tempfile.gettempdir(), "ollama-service-crewai"))

import httpx
import openai
from crewai import LLM, Agent, Crew, Task
from crewai.llms.hooks.base import BaseInterceptor
from crewai.tools import tool
from pydantic import BaseModel, Field

# With its port: crewai takes 11434 for a missing one.
SERVICE_URL = os.environ.get("SERVICE_URL") or "http://127.0.0.1:8000"
SERVICE_KEY = os.environ.get("SERVICE_KEY") or "none"
RESEARCHER_MODEL = os.environ.get("RESEARCHER_MODEL") or "gpt-oss"
RESEARCHER_TEMPERATURE = float(os.environ.get("RESEARCHER_TEMPERATURE") or 0.3)
QUALITY_MODEL = os.environ.get("QUALITY_MODEL") or "llama3.1"
LONGEST_CALL_SECONDS = 900.0  # the service has deadlines of its own, and says which one passed

POINTS = {"Josh Allen": [24.1, 31.7, 18.9], "Bijan Robinson": [19.4, 8.2, 22.0], "Puka Nacua": [11.3, 27.6, 16.8]}


class Article(BaseModel):
    """The article that the writer produces from the researcher's notes."""

    headline: str = Field(description="At most ten words.")
    body: str = Field(description="Two paragraphs.")
    players: list[str] = Field(description="The players it is about.")


class ServedModels(BaseInterceptor[httpx.Request, httpx.Response]):
    """Records which model responded to each call, from the service's headers, which crewai does not expose."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.has_fallback = False

    def on_outbound(self, message: httpx.Request) -> httpx.Request:
        """Leave requests as they are."""
        return message

    def on_inbound(self, message: httpx.Response) -> httpx.Response:
        """Read the headers of a response."""
        if name := message.headers.get("X-Model"):
            self.names.append(name)
            self.has_fallback |= message.headers.get("X-Model-Fallback") == "true"
        return message


@tool
def recent_points(player: str) -> str:
    """Return the fantasy points of a player in the last three weeks, oldest first."""
    points = POINTS.get(player)
    return f"{player}: {points}" if points else f"No such player; known are {', '.join(POINTS)}."


def language_model(served: ServedModels, model: str, temperature: float | None = None) -> LLM:
    """Return a model of the service, without retries: the service itself queues and retries."""
    return LLM(
        model=f"ollama/{model}",
        base_url=SERVICE_URL,
        api_key=SERVICE_KEY,
        temperature=temperature,
        timeout=LONGEST_CALL_SECONDS,
        max_retries=0,
        interceptor=served,
    )


def article_crew(served: ServedModels) -> Crew:
    """Return a crew that writes about the input `topic`."""
    researcher = Agent(
        role="Fantasy football researcher",
        goal="Find the facts that an article about {topic} needs",
        backstory="You look numbers up before you state them.",
        llm=language_model(served, RESEARCHER_MODEL, RESEARCHER_TEMPERATURE),
        tools=[recent_points],
        max_retry_limit=0,
        max_iter=5,
    )
    writer = Agent(
        role="Fantasy football writer",
        goal="Write articles that people read to their end",
        backstory="You write short sentences, and state only the facts that you are given.",
        llm=language_model(served, QUALITY_MODEL),
        max_retry_limit=0,
        max_iter=5,
    )
    research = Task(
        description="Collect facts for an article about {topic}.",
        expected_output="A list of facts with their numbers.",
        agent=researcher,
    )
    writing = Task(
        description="Write an article about {topic} from these facts.",
        expected_output="The article.",
        agent=writer,
        context=[research],
        output_pydantic=Article,
    )
    return Crew(agents=[researcher, writer], tasks=[research, writing])


def write_article(topic: str) -> dict[str, object]:
    """Run the crew and return the article, or why there is none."""
    served = ServedModels()
    try:
        output = article_crew(served).kickoff({"topic": topic})
    except openai.APIStatusError as error:
        headers = error.response.headers
        return {"error": error.message, "status": error.status_code, "retry_after": headers.get("Retry-After")}
    except openai.APIConnectionError:
        return {"error": "The service cannot be reached.", "status": 503, "retry_after": "5"}
    if output.pydantic is None:
        return {"error": "The writer's answer is no article.", "status": 502, "retry_after": None}
    return {"article": output.pydantic.model_dump(), "models": served.names, "fallback": served.has_fallback}


def main() -> None:
    """Write an article about each line of stdin."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1) as results:
        os.dup2(2, 1)  # what crewai prints goes to stderr
        article_crew(ServedModels())
        results.write(json.dumps({"ready": True}) + "\n")
        for line in sys.stdin:
            results.write(json.dumps(write_article(line.strip())) + "\n")


if __name__ == "__main__":
    main()
