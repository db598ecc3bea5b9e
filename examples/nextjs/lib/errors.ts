/** The sentence of a problem document; every failed response of the service is one. */
export async function failure(response: Response): Promise<string> {
  const problem = (await response.json().catch(() => null)) as { detail?: unknown } | null;
  return typeof problem?.detail === "string" ? problem.detail : `The server answered with status ${response.status}.`;
}

/** What to show of an error; the browser's TypeError says that a connection failed, in words of its own. */
export function sentence(error: unknown): string {
  if (error instanceof TypeError || !(error instanceof Error)) return "The connection to the server was lost.";
  return error.message;
}
