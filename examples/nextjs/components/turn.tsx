export interface TurnProps {
  role: "user" | "assistant";
  text: string;
  reasoning?: string;
  model?: string;
  fallback?: boolean;
  note?: string;
}

/** One message, with the model's reasoning folded away and the name of the model that answered. */
export function Turn({ role, text, reasoning, model, fallback, note }: TurnProps) {
  return (
    <article className={role} aria-label={role === "user" ? "You" : "Answer"}>
      {reasoning && (
        <details>
          <summary>Reasoning</summary>
          <p className="text">{reasoning}</p>
        </details>
      )}
      <p className="text">{text}</p>
      {(model || note) && (
        <footer>{[model && `Answered by ${model}${fallback ? " (fallback)" : ""}`, note].filter(Boolean).join(" · ")}</footer>
      )}
    </article>
  );
}
