"""What a backend in Python does with the client that openapi-python-client makes of openapi.json."""

# mypy: disable-error-code="import-not-found"

import sys

from service_client import Client
from service_client.api.ollama import chat, embeddings, generate, models
from service_client.models import (
    ChatRequest,
    ChatResponse,
    EmbeddingsRequest,
    EmbeddingsResponse,
    GenerateRequest,
    GenerateResponse,
    Message,
    MessageRole,
    ModelsResponse,
    Problem,
    Tool,
)

WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}


def main(url: str) -> None:
    """Call every operation, and use what it answers by its members."""
    client = Client(base_url=url)
    answer = generate.sync(client=client, body=GenerateRequest(prompt="Hi"))
    assert isinstance(answer, GenerateResponse)
    assert answer.response.startswith("[simulated gpt-oss]")

    messages = [Message(role=MessageRole.USER, content="Ask get_weather about Paris.")]
    tools = [Tool.from_dict(WEATHER)]
    turn = chat.sync(client=client, body=ChatRequest(model="llama3.1", messages=messages, tools=tools))
    assert isinstance(turn, ChatResponse)
    messages.append(Message.from_dict(turn.message.to_dict()))
    for call in turn.message.tool_calls or []:
        assert call.function.arguments.to_dict() == {}
        messages.append(Message(role=MessageRole.TOOL, tool_name=call.function.name, content="Sunny."))
    assert [message.tool_name for message in messages[2:]] == ["get_weather"]
    last = chat.sync(client=client, body=ChatRequest(model="llama3.1", messages=messages))
    assert isinstance(last, ChatResponse)
    assert last.usage.completion_tokens

    missing = generate.sync(client=client, body=GenerateRequest(prompt="Hi", model="mistral", fallback=False))
    assert isinstance(missing, Problem)
    assert missing.code == "model_not_found"
    assert missing.available

    found = models.sync(client=client)
    assert isinstance(found, ModelsResponse)
    assert "gpt-oss" in {model.name for model in found.models}
    vector = embeddings.sync(client=client, body=EmbeddingsRequest(text="waiver wire"))
    assert isinstance(vector, EmbeddingsResponse)
    assert vector.dimension == len(vector.embeddings)


if __name__ == "__main__":
    main(sys.argv[1])
