import Link from "next/link";

export default function Home() {
  return (
    <>
      <h1>Ollama service in Next.js</h1>
      <p>Two ways from a page to the model, each through a route handler of its own:</p>
      <ul>
        <li>
          <Link href="/chat">Typed API</Link>: the handler passes the service&rsquo;s event stream on, and the page reads it.
        </li>
        <li>
          <Link href="/ai">AI SDK</Link>: <code>streamText</code> on the service&rsquo;s <code>/v1</code>, and{" "}
          <code>useChat</code> in the page.
        </li>
      </ul>
    </>
  );
}
