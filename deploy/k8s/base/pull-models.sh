#!/bin/bash
# Pulls DEFAULT_MODEL, QUALITY_MODEL and EMBEDDING_MODEL to each of SERVERS (host names, or host:port), and fails with
# Ollama's message if one cannot be pulled. Prints a line for each tenth of a download, as the log would otherwise get
# ten redrawn progress bars a second.
set -euo pipefail

pull() {
    declare -A shown=()
    ollama pull "$1" 2>&1 | while IFS= read -r line; do
        if [[ $line =~ pulling\ ([0-9a-f]{12}):\ +([0-9]+)% ]]; then
            layer=${BASH_REMATCH[1]} tenths=$((BASH_REMATCH[2] / 10))
            [[ ${shown[$layer]-} == "$tenths" ]] || echo "$1: layer $layer $((tenths * 10)) %"
            shown[$layer]=$tenths
        elif [[ $line == Error* ]]; then
            echo "$1: $line" >&2
        fi
    done
}

for server in $SERVERS; do
    export OLLAMA_HOST="http://$server"
    [[ $server == *:* ]] || OLLAMA_HOST+=":11434"
    until ollama list > /dev/null 2>&1; do
        echo "waiting for $server"
        sleep 5
    done
    for model in "$DEFAULT_MODEL" "$QUALITY_MODEL" "$EMBEDDING_MODEL"; do
        echo "pulling $model to $server"
        pull "$model" || {
            echo "FAILED: $model was not pulled to $server" >&2
            exit 1
        }
    done
done
echo "all models are there"
