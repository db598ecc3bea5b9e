"""Example requests for `/docs`; each can be sent as it stands."""

from routers.openapi.example import Named, named_example

HEADLINE_SCHEMA = {
    "type": "object",
    "properties": {
        "headline": {"type": "string"},
        "players": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["headline", "players"],
    "additionalProperties": False,
}

GENERATE: Named = {
    "headline": named_example(
        "A fantasy-football headline",
        {"prompt": "Write one headline about this week's fantasy-football waiver wire.", "max_tokens": 400},
    ),
    "stream": named_example(
        "Stream it",
        {"prompt": "Explain in two sentences why a running back's snap share matters.", "stream": True},
        "Choose the form of the stream as the media type of the answer: it is sent as `Accept`.",
    ),
    "structured": named_example(
        "Structured output with a JSON schema",
        {
            "model": "llama3.1",
            "prompt": "Write a headline about Josh Allen and Stefon Diggs; list the players it names.",
            "format": HEADLINE_SCHEMA,
            "temperature": 0,
        },
        "`response` is JSON text that satisfies the schema; if it does not, `warnings` says `invalid_json`.",
    ),
    "voice": named_example(
        "A voice of its own, repeatable",
        {
            "model": "llama3.1",
            "system": "You are a dry British sports writer. Answer in one sentence.",
            "prompt": "Sum up a 3-3 draw.",
            "temperature": 0.9,
            "seed": 7,
            "stop": ["\n\n"],
        },
        "`QUALITY_MODEL` writes; without it `DEFAULT_MODEL` does, and the answer says so.",
    ),
}

CHAT: Named = {
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
        "Stream it",
        {"messages": [{"role": "user", "content": "Preview the Bills' next game in four sentences."}], "stream": True},
        "Choose the form of the stream as the media type of the answer: it is sent as `Accept`.",
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
        "Let it call a function",
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
        "`message.tool_calls` names the call; send its result back as a message with the role `tool`.",
    ),
}

EMBEDDINGS: Named = {
    "one": named_example("Embed a text", {"text": "The quarterback threw for three touchdowns."}),
    "two": named_example(
        "Embed two texts",
        {"text": ["The quarterback threw for three touchdowns.", "Three touchdown passes on Sunday."]},
        "The vectors have unit length: their dot product is the cosine similarity.",
    ),
    "document": named_example(
        "Embed a text to be found",
        {"text": "Saquon Barkley is out with an ankle injury.", "input_type": "document"},
        "`prefix` of the answer says what the text was made to begin with.",
    ),
    "query": named_example(
        "Embed a question to find it by",
        {"text": "Who is injured?", "input_type": "query"},
        "Stored vectors and searches have to be made the same way: both with `input_type`, or both without.",
    ),
    "short": named_example(
        "Vectors of 256 numbers",
        {"text": "The running back is out with an ankle injury.", "dimensions": 256},
        "For models that were trained for it; it saves room in a vector database.",
    ),
}
