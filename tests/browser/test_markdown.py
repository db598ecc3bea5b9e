"""Responses are rendered as Markdown, and never as HTML."""

import random

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from simulator import Simulator
from tests.browser.conftest import Tab, chat_answer, open_playground, say

pytestmark = pytest.mark.asyncio(loop_scope="session")

DOCUMENT = """\
# Title

A *first* **paragraph** with `code <b>` and a [link](https://example.com/a_(b) "More").

1. one
   - nested
2. two

```python
print("<b>")

# still code
```

> quoted
> > twice

| a | b |
|---|--:|
| 1 | 2 |

---

The ~~end~~.
"""
MODULES = """
window.load = async () => {
  const { parseBlocks } = await import("./assets/playground/markdown/blocks.js");
  const { MarkdownStream } = await import("./assets/playground/markdown/stream.js");
  return { parseBlocks, MarkdownStream };
};
"""
FORBIDDEN_LINKS = [
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](javascript&#58;alert(1))",
    "[x](javascript&#x3A;alert(1))",
    "[x](javascript&colon;alert(1))",
    "[x](java&#10;script:alert(1))",
    "[x](java\\script:alert(1))",
    "[x](<java\tscript:alert(1)>)",
    "[x](&#1;javascript:alert(1))",
    "[x](data:text/html,<script>alert(1)</script>)",
    "[x](vbscript:msgbox)",
    "[x](file:///etc/passwd)",
    "[x](blob:null)",
    "[x](//elsewhere.example)",
    "[x](playground)",
    "[x]()",
    "<javascript:alert(1)>",
    "<data:text/html,x>",
    "[x][1]\n\n[1]: javascript:alert(1)",
    "![x](javascript:alert(1))",
]
MEANINGS = {
    "snake_case_name and 2 * 3 * 4": "<p>snake_case_name and 2 * 3 * 4</p>",
    "***both*** and **open": "<p><em><strong>both</strong></em> and **open</p>",
    "``a ` b`` \\*no\\*": "<p><code>a ` b</code> *no*</p>",
    "one\ntwo": "<p>one<br>two</p>",
    "3. three\n4. four": '<ol start="3"><li>three</li><li>four</li></ol>',
    "1. a\n  - b\n2. c": "<ol><li>a<ul><li>b</li></ul></li><li>c</li></ol>",
    "- [x] done\n- [ ] open": "<ul><li>☑ done</li><li>☐ open</li></ul>",
    "# a #\n#b": "<h1>a</h1><p>#b</p>",
    "&lt;b&gt; &amp;amp; &bogus;": "<p>&lt;b&gt; &amp;amp; &amp;bogus;</p>",
}
PIECES = [
    "a", " b", "*", "**", "_", "`", "```", "```js\n", "~~~", "\n", "\n", "\n\n", "- ", "  - ", "1. ", "2) ", "> ", "|",
    "a|b\n", "-|-\n", "|-", "# ", "#", "---", "\n---\n", "    ", "\t", "[x](http://a.example)", "[", "](",
    "http://b.example/", "<!--", "\\", "\r\n", "&amp", ";", "![",
]  # fmt: skip
# Each would take minutes with a parser of quadratic time.
HOSTILE = [
    "[", "](", "[a](", "![", "[a](<", '[a](b "', "*a ", "a* ", "*a _b ", "*_~~", "***", "`", "` `` ", "<", "&#", "\\",
    "> ", ">", "- ", "  - a\n", "1. a\n", "|", "a|b\n", "```\n", "~~~ `\n", "http://", "(", "[[a](http://x)](http://y)",
    "# ", "- - ", "\t", "\n",
]  # fmt: skip


async def answer_with(tab: Tab, url: str, simulator: Simulator, text: str) -> Page:
    simulator.fault(chat_answer(text))
    page = await open_playground(tab, url)
    await say(page, "Hello.")
    await expect(page.locator(".answer[data-state=ended]")).to_have_count(1)
    return page


async def render(page: Page, text: str) -> str:
    """Return the HTML of a rendered text."""
    html: str = await page.evaluate(
        """async (text) => {
            const { MarkdownStream } = await load();
            const box = document.createElement("div");
            const stream = new MarkdownStream(box);
            stream.append(text);
            stream.finish();
            return box.innerHTML;
        }""",
        text,
    )
    return html


@pytest_asyncio.fixture(loop_scope="session")
async def page(url: str, tab: Tab) -> Page:
    """The playground, with a function that imports its Markdown modules."""
    await tab.page.add_init_script(MODULES)
    return await open_playground(tab, url)


async def test_a_response_is_rendered_as_markdown(url: str, tab: Tab, simulator: Simulator) -> None:
    page = await answer_with(tab, url, simulator, DOCUMENT)
    text = page.locator(".answer .text")
    await expect(text.get_by_role("heading", name="Title")).to_be_visible()
    await expect(text.locator("p").first).to_have_text("A first paragraph with code <b> and a link.")
    await expect(text.locator("ol > li > ul > li")).to_have_text("nested")
    await expect(text.locator("figure pre code")).to_have_text('print("<b>")\n\n# still code', use_inner_text=True)
    await expect(text.locator("blockquote blockquote")).to_have_text("twice")
    await expect(text.locator("table td")).to_have_text(["1", "2"])
    link = text.get_by_role("link", name="link")
    assert await link.get_attribute("href") == "https://example.com/a_(b)"
    assert "noopener" in (await link.get_attribute("rel") or "").split()
    assert await text.locator("hr").count() == 1
    assert await text.locator("em, strong, del").all_text_contents() == ["first", "paragraph", "end"]
    assert tab.trouble == []


async def test_raw_html_in_markdown_is_shown_as_text(url: str, tab: Tab, simulator: Simulator) -> None:
    evil = "# <img src=x onerror=alert(1)>\n\n- <svg onload=alert(1)>\n\n<!-- hidden -->\n\n<script>alert(1)</script>"
    page = await answer_with(tab, url, simulator, evil)
    text = page.locator(".answer .text")
    for seen in ("<img src=x onerror=alert(1)>", "<svg onload=alert(1)>", "<!-- hidden -->", "<script>alert(1)"):
        await expect(text).to_contain_text(seen)
    assert await text.locator("img, svg, script").count() == 0
    assert tab.trouble == []


async def test_no_image_is_fetched(url: str, tab: Tab, simulator: Simulator) -> None:
    images = (
        "![a chart](https://elsewhere.example/a.png) [![badge](https://elsewhere.example/b.svg)](https://c.example/)"
    )
    page = await answer_with(tab, url, simulator, images)
    links = page.locator(".answer .text a")
    await expect(links).to_have_text(["a chart", "badge"])
    assert [await link.get_attribute("href") for link in await links.all()] == [
        "https://elsewhere.example/a.png",
        "https://c.example/",
    ]
    assert await page.locator(".messages img").count() == 0
    assert tab.requests_elsewhere(url) == []


async def test_other_links_than_http_and_mailto_are_text(page: Page) -> None:
    assert [text for text in FORBIDDEN_LINKS if "<a " in await render(page, text)] == []


async def test_http_and_mailto_links_are_links(page: Page) -> None:
    html = await render(
        page, "[a](http://a.example) <https://b.example/> https://c.example/d. [e](mailto:e@example.com)"
    )
    for target in ("http://a.example/", "https://b.example/", "https://c.example/d", "mailto:e@example.com"):
        assert f'href="{target}"' in html
    assert html.count('rel="noopener noreferrer"') == 4


async def test_markdown_syntax_is_rendered(page: Page) -> None:
    assert {text: await render(page, text) for text in MEANINGS} == MEANINGS


async def test_links_are_not_nested(page: Page) -> None:
    html = await render(page, "[a [b](https://b.example) c](https://c.example) [https://d.example](https://e.example)")
    assert html.count("<a ") == 3
    assert "</a></a>" not in html


async def test_an_unclosed_fence_is_code_to_the_end(page: Page) -> None:
    html = await render(page, "Look:\n\n```html\n<b>\n\n# no heading\n")
    assert "<h1>" not in html
    assert "&lt;b&gt;\n\n# no heading" in html


async def test_streamed_markdown_renders_like_complete_markdown(page: Page) -> None:
    rng = random.Random(7)
    documents = [[rng.choice(PIECES) for _ in range(rng.randint(1, 25))] for _ in range(3000)]
    different = await page.evaluate(
        """async (documents) => {
            const { MarkdownStream } = await load();
            const show = (chunks) => {
                const box = document.createElement("div");
                const stream = new MarkdownStream(box);
                for (const chunk of chunks) {
                    stream.append(chunk);
                    stream.finish();
                }
                return box.innerHTML;
            };
            return documents.filter((chunks) => show(chunks) !== show([chunks.join("")]));
        }""",
        documents,
    )
    assert different == []


async def test_finished_blocks_are_not_rendered_again(page: Page) -> None:
    left, is_same, blocks = await page.evaluate(
        """async () => {
            const { MarkdownStream } = await load();
            const box = document.createElement("div");
            const stream = new MarkdownStream(box);
            const add = (text) => { stream.rest += text; stream.render(); };
            add("First.\\n\\nSecond.\\n\\nThird.\\n");
            const first = box.firstChild;
            let longest = 0;
            for (let i = 0; i < 2000; i += 1) {
                add(`Paragraph ${i} *with*\\n\\n- an item\\n\\n`);
                longest = Math.max(longest, stream.rest.length);
            }
            return [longest, box.firstChild === first, box.childNodes.length];
        }"""
    )
    assert left < 200
    assert is_same
    assert blocks == 4002


async def test_parsing_time_is_bounded(page: Page) -> None:
    for part in HOSTILE:
        took_ms = await page.evaluate(
            """async (part) => {
                const { parseBlocks } = await load();
                const startedAt = performance.now();
                parseBlocks(part.repeat(Math.ceil(1e6 / part.length)).split("\\n"));
                return performance.now() - startedAt;
            }""",
            part,
        )
        assert took_ms < 20_000, part


async def test_a_response_of_a_megabyte_is_shown(url: str, tab: Tab, simulator: Simulator) -> None:
    text = "Some *words* of a long answer, `code` too.\n\n" * 23_000
    page = await answer_with(tab, url, simulator, f"{text}The end.")
    await expect(page.locator(".answer .text > p").last).to_have_text("The end.")
    assert await page.locator(".answer .text > p").count() == 23_001
    assert tab.trouble == []


async def test_a_response_and_its_code_can_be_copied_by_keyboard(url: str, tab: Tab, simulator: Simulator) -> None:
    await tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = await answer_with(tab, url, simulator, DOCUMENT)
    copied = "() => navigator.clipboard.readText()"
    await page.get_by_role("button", name="Copy code").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#announcement")).to_have_text("Code copied.")
    await expect(page.get_by_role("button", name="Copy code")).to_have_text("Copied")
    assert await page.evaluate(copied) == 'print("<b>")\n\n# still code'
    await page.get_by_role("button", name="Copy response").press("Enter")
    await expect(page.locator("#announcement")).to_have_text("Response copied.")
    assert await page.evaluate(copied) == DOCUMENT
    await expect(page.get_by_role("button", name="Copy response")).to_be_focused()


async def test_copying_works_without_the_clipboard_api(url: str, tab: Tab, simulator: Simulator) -> None:
    await tab.page.context.grant_permissions(["clipboard-read"])
    await tab.page.add_init_script("navigator.clipboard.writeText = undefined")
    page = await answer_with(tab, url, simulator, "**Copy** me.")
    await page.get_by_role("button", name="Copy response").click()
    await expect(page.locator("#announcement")).to_have_text("Response copied.")
    assert await page.evaluate("() => navigator.clipboard.readText()") == "**Copy** me."
    await expect(page.get_by_role("button", name="Copy response")).to_be_focused()
