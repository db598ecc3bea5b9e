/** Address and key of the Ollama service, for the server side of this app. */
export const SERVICE_URL = process.env.OLLAMA_SERVICE_URL ?? "http://127.0.0.1:8000";
export const SERVICE_KEY = process.env.OLLAMA_SERVICE_KEY;
export const UNREACHABLE = "The language model service cannot be reached.";
