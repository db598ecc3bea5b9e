import type { Metadata } from "next";
import Link from "next/link";
import type { ReactNode } from "react";

import "./globals.css";

export const metadata: Metadata = { title: "Ollama service in Next.js" };

export default function RootLayout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body>
        <header>
          <nav aria-label="Pages">
            <Link href="/">Start</Link>
            <Link href="/chat">Typed API</Link>
            <Link href="/ai">AI SDK</Link>
          </nav>
        </header>
        <main>{children}</main>
      </body>
    </html>
  );
}
