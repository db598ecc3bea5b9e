import type { UIMessage } from "ai";

/** The model that responded, and whether it is a fallback. */
export type Served = { model: string; fallback: boolean };

export type AIMessage = UIMessage<Served>;
