// Shows Markdown while it arrives. Blocks that are complete are never touched again; only the last one is parsed anew.

import { parseBlocks } from "./blocks.js";
import { updateChildren } from "./dom.js";

/** At most a fifth of the time goes into rendering, however long the last block is. */
const PAUSE_FACTOR = 4;

export class MarkdownStream {
  constructor(container, { onRender = () => {} } = {}) {
    this.container = container;
    this.onRender = onRender;
    this.rest = "";
    this.settled = 0;
    this.frame = 0;
    this.notBefore = 0;
  }

  append(text) {
    this.rest += text.replaceAll("\r", "");
    this.schedule();
  }

  /** Shows all that has arrived, at once. */
  finish() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.render();
  }

  schedule() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      if (performance.now() < this.notBefore) this.schedule();
      else this.render();
    });
  }

  render() {
    const startedAt = performance.now();
    const lines = this.rest.split("\n");
    const blocks = parseBlocks(lines);
    updateChildren(this.container, blocks.map(({ tree }) => tree), this.settled);
    this.settle(blocks, lines);
    const now = performance.now();
    this.notBefore = now + PAUSE_FACTOR * (now - startedAt);
    this.onRender();
  }

  /** Cuts the blocks that nothing can change any more: those before the last one of which two whole lines are known. */
  settle(blocks, lines) {
    const last = blocks.findLastIndex(({ start }) => start < lines.length - 2);
    if (last < 1) return;
    this.settled += last;
    this.rest = lines.slice(blocks[last].start).join("\n");
  }
}
