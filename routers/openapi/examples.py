"""Example requests for `/docs`; each can be sent unchanged."""

from routers.openapi.example import Examples, named_example

HEADLINE_SCHEMA = {
    "type": "object",
    "properties": {
        "headline": {"type": "string"},
        "players": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["headline", "players"],
    "additionalProperties": False,
}

GENERATE: Examples = {
    "headline": named_example(
        "A fantasy-football headline",
        {"prompt": "Write one headline about this week's fantasy-football waiver wire.", "max_tokens": 400},
    ),
    "stream": named_example(
        "Streaming",
        {"prompt": "Explain in two sentences why a running back's snap share matters.", "stream": True},
        "Select the format of the stream as the media type of the response, which is sent as `Accept`.",
    ),
    "structured": named_example(
        "Structured output with a JSON schema",
        {
            "model": "llama3.1",
            "prompt": "Write a headline about Josh Allen and Stefon Diggs; list the players it names.",
            "format": HEADLINE_SCHEMA,
            "temperature": 0,
        },
        "`response` is JSON text; if it does not satisfy the schema, `warnings` has `invalid_json`.",
    ),
    "voice": named_example(
        "System prompt, seed and stop",
        {
            "model": "llama3.1",
            "system": "You are a dry British sports writer. Answer in one sentence.",
            "prompt": "Sum up a 3-3 draw.",
            "temperature": 0.9,
            "seed": 7,
            "stop": ["\n\n"],
        },
        "If the model is not installed, `DEFAULT_MODEL` responds and `fallback` is true.",
    ),
}

CHAT: Examples = {
    "conversation": named_example(
        "A conversation with history",
        {
            "messages": [
                {"role": "system", "content": "You help fantasy-football managers. Be brief."},
                {"role": "user", "content": "Who should I start, Kyren Williams or Rachaad White?"},
                {"role": "assistant", "content": "Williams: more snaps and goal-line work."},
                {"role": "user", "content": "And if it rains?"},
            ],
        },
    ),
    "stream": named_example(
        "Streaming",
        {"messages": [{"role": "user", "content": "Preview the Bills' next game in four sentences."}], "stream": True},
        "Select the format of the stream as the media type of the response, which is sent as `Accept`.",
    ),
    "structured": named_example(
        "Structured output with a JSON schema",
        {
            "messages": [{"role": "user", "content": "A headline about the Bills, with the players it names."}],
            "format": HEADLINE_SCHEMA,
            "temperature": 0,
        },
    ),
    "tools": named_example(
        "Tool call",
        {
            "messages": [{"role": "user", "content": "Is Saquon Barkley fit to play on Sunday?"}],
            "tools": [
                {
                    "type": "function",
                    "function": {
                        "name": "injury_status",
                        "description": "Look up a player's injury status.",
                        "parameters": {
                            "type": "object",
                            "properties": {"player": {"type": "string"}},
                            "required": ["player"],
                        },
                    },
                }
            ],
        },
        "`message.tool_calls` has the calls; send the result back as a message with the role `tool`.",
    ),
}

EMBEDDINGS: Examples = {
    "one": named_example("One text", {"text": "The quarterback threw for three touchdowns."}),
    "two": named_example(
        "Two texts",
        {"text": ["The quarterback threw for three touchdowns.", "Three touchdown passes on Sunday."]},
        "The vectors have unit length: their dot product is the cosine similarity.",
    ),
    "document": named_example(
        "Embed a document",
        {"text": "Saquon Barkley is out with an ankle injury.", "input_type": "document"},
        "`prefix` in the response is what was put before the text.",
    ),
    "query": named_example(
        "Embed a search for it",
        {"text": "Who is injured?", "input_type": "query"},
        "Make stored vectors and searches the same way: both with `input_type`, or both without.",
    ),
    "short": named_example(
        "Vectors of 256 dimensions",
        {"text": "The running back is out with an ankle injury.", "dimensions": 256},
        "Only for models trained for it; saves space in a vector database.",
    ),
}
