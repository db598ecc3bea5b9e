"use client";

import { useEffect, useState } from "react";

import { failure, sentence } from "@/lib/errors";

interface Model {
  name: string;
  capabilities?: string[];
}

interface ModelSelectProps {
  value: string;
  onChange: (model: string) => void;
}

/** The installed models that can chat; chooses the first when the list arrives. */
export function ModelSelect({ value, onChange }: ModelSelectProps) {
  const [models, setModels] = useState<string[]>([]);
  const [error, setError] = useState<string>();

  useEffect(() => {
    const controller = new AbortController();
    loadModels(controller.signal).then(
      (names) => {
        setModels(names);
        onChange(names[0] ?? "");
      },
      (reason: unknown) => {
        if (!controller.signal.aborted) setError(sentence(reason));
      },
    );
    return () => controller.abort();
  }, [onChange]);

  return (
    <div className="model">
      <label htmlFor="model">Model</label>
      <select id="model" value={value} disabled={models.length === 0} onChange={(event) => onChange(event.target.value)}>
        {models.map((name) => (
          <option key={name}>{name}</option>
        ))}
      </select>
      {error && <p role="alert">{error}</p>}
    </div>
  );
}

async function loadModels(signal: AbortSignal): Promise<string[]> {
  const response = await fetch("/api/models", { signal });
  if (!response.ok) throw new Error(await failure(response));
  const { models } = (await response.json()) as { models: Model[] };
  return models.filter(canChat).map((model) => model.name);
}

function canChat({ capabilities = [] }: Model): boolean {
  return capabilities.length === 0 || capabilities.includes("completion");
}
