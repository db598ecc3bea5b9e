import type { UIMessage } from "ai";

/** Which model answered, and whether it did so in place of the one that was asked for. */
export type Served = { model: string; fallback: boolean };

export type AIMessage = UIMessage<Served>;
