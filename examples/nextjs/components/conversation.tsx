"use client";

import { useEffect, useRef, type ReactNode } from "react";

const NEAR_END_PX = 80;

/** The messages; keeps the end in view while text arrives, unless the reader has scrolled up. */
export function Conversation({ busy, children }: { busy: boolean; children: ReactNode }) {
  const following = useRef(true);

  useEffect(() => {
    function onScroll() {
      const { scrollHeight } = document.documentElement;
      following.current = window.scrollY + window.innerHeight >= scrollHeight - NEAR_END_PX;
    }
    window.addEventListener("scroll", onScroll, { passive: true });
    return () => window.removeEventListener("scroll", onScroll);
  }, []);

  useEffect(() => {
    if (following.current) window.scrollTo({ top: document.documentElement.scrollHeight });
  }, [children]);

  return (
    <section role="log" aria-label="Conversation" aria-busy={busy}>
      {children}
    </section>
  );
}
