/** The error message of a failed response, which is a problem document. */
export async function failure(response: Response): Promise<string> {
  const problem = (await response.json().catch(() => null)) as { detail?: unknown } | null;
  return typeof problem?.detail === "string" ? problem.detail : `The server responded with status ${response.status}.`;
}

/** The message to show for an error; browsers report a failed connection as a TypeError with different messages. */
export function sentence(error: unknown): string {
  if (error instanceof TypeError || !(error instanceof Error)) return "The connection to the server was lost.";
  return error.message;
}
