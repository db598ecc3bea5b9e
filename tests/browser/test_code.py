"""The code tab: its programs run and send the same request as the page."""

import ast
import asyncio
import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from main import create_app
from simulator import Fault, Simulator
from tests.browser.conftest import Tab, open_playground, say
from tests.conftest import MakeSettings
from tests.serving import serve

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROOT = Path(__file__).parent.parent.parent
PATIENCE_SECONDS = 30
SYSTEM = 'Say "no" to $HOME, `id` and \\n.'
PROMPT = """it's "quoted" $HOME `id` $(id) ${x} !! %s \\n \\u0041 \\
'''\t\"\"\" </script> -- # é € 東京 🙂 👩\u200d💻 \u2028 \u202e\U000e0041 \x07 \x7f\u00a0 \ufeff'"""
EVERY_CHARACTER = "".join(map(chr, range(0x100))) + "\ud83d\ude00 \ud83d \udc00 \u2028\u2029\ufeff\uffff"


async def show_code(page: Page, name: str) -> str:
    """Return the code shown for a language."""
    await page.get_by_role("tab", name="Code").click()
    await page.get_by_text(name, exact=True).click()
    return await page.locator("#snippet").text_content() or ""


async def ask_with_settings(page: Page) -> None:
    await page.get_by_label("System message").fill(SYSTEM)
    await page.get_by_label("Temperature").fill("0.5")
    await page.get_by_label("Max tokens").fill("20")
    await page.get_by_label("Thinking").select_option("low")
    await page.get_by_label("Use the default model").uncheck()
    await page.get_by_label("Your message").fill(PROMPT)


async def run(*command: str, env: Mapping[str, str] | None = None) -> str:
    """Run a program in the root of the repository and return its output."""
    environment = {"PATH": os.environ["PATH"], "PYTHONIOENCODING": "utf-8", "NO_PROXY": "*"} | dict(env or {})
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(PATIENCE_SECONDS):
        printed, complaint = await process.communicate()
    assert process.returncode == 0, complaint.decode()
    return printed.decode()


def program(name: str) -> str:
    """Return the path of a program; skip the test if it is missing."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def question(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body of a request without the defaults of the service."""
    options = body["options"]
    return {
        "messages": [(message["role"], message["content"]) for message in body["messages"]],
        "think": body.get("think"),
        "temperature": options["temperature"],
        "num_predict": options["num_predict"],
    }


ASKED = {
    "messages": [("system", SYSTEM), ("user", PROMPT)],
    "think": "low",
    "temperature": 0.5,
    "num_predict": 20,
}


async def test_the_curl_command_sends_the_same_request(url: str, tab: Tab, simulator: Simulator) -> None:
    page = await open_playground(tab, url)
    await ask_with_settings(page)
    code = await show_code(page, "curl")
    assert '"fallback": false' in code
    printed = await run(program("sh"), "-c", code)
    assert "event: done" in printed
    assert question(simulator.calls_to("/api/chat")[0].body) == ASKED
    assert tab.trouble == []


async def test_a_body_too_long_for_an_argument_is_piped_into_curl(url: str, tab: Tab, simulator: Simulator) -> None:
    page = await open_playground(tab, url)
    long = f"{PROMPT}\nJSON\n" * 300
    await page.get_by_label("Your message").fill(long)
    printed = await run(program("sh"), "-c", await show_code(page, "curl"))
    assert "event: done" in printed
    *_, call = simulator.calls_to("/api/chat")
    assert call.body["messages"] == [{"role": "user", "content": long.strip()}]


async def test_the_fetch_program_sends_the_same_request(
    url: str, tab: Tab, simulator: Simulator, tmp_path: Path
) -> None:
    page = await open_playground(tab, url)
    await ask_with_settings(page)
    file = tmp_path / "ask.mjs"
    file.write_text(await show_code(page, "TypeScript, fetch"))
    assert "[simulated gpt-oss]" in await run(program("node"), str(file))
    assert question(simulator.calls_to("/api/chat")[0].body) == ASKED


async def test_the_fetch_program_fails_with_the_services_error_message(
    url: str, tab: Tab, simulator: Simulator, tmp_path: Path
) -> None:
    simulator.fault(Fault(status=400, message="this model cannot do that"))
    simulator.fault(Fault(error_after=12))
    page = await open_playground(tab, url)
    file = tmp_path / "ask.mjs"
    file.write_text(await show_code(page, "TypeScript, fetch"))
    with pytest.raises(AssertionError, match="this model cannot do that"):
        await run(program("node"), str(file))
    with pytest.raises(AssertionError, match="ollama_error: Ollama failed"):
        await run(program("node"), str(file))


async def test_the_in_process_program_sends_the_same_request(url: str, tab: Tab, simulator: Simulator) -> None:
    page = await open_playground(tab, url)
    await ask_with_settings(page)
    code = await show_code(page, "Python, in process")
    printed = await run(sys.executable, "-c", code, env={"OLLAMA_BASE_URL": simulator.url})
    assert "[simulated gpt-oss]" in printed
    (call,) = simulator.calls_to("/api/generate")
    assert (call.body["system"], call.body["prompt"]) == (SYSTEM, PROMPT)
    assert (call.body["options"]["temperature"], call.body["options"]["num_predict"]) == (0.5, 20)
    assert "# generate() does not take think, fallback" in code


async def test_a_conversation_in_process_repeats_its_last_message(url: str, tab: Tab, simulator: Simulator) -> None:
    page = await open_playground(tab, url)
    for at, text in enumerate(("One.", "Two."), start=1):
        await say(page, text)
        await expect(page.locator(".answer[data-state=ended]")).to_have_count(at)
    code = await show_code(page, "Python, in process")
    await run(sys.executable, "-c", code, env={"OLLAMA_BASE_URL": simulator.url})
    _, second, again = simulator.calls_to("/api/chat")
    assert again.body["messages"] == second.body["messages"]
    await expect(page.locator("#snippet-source")).to_have_text("Repeats the last message of the conversation.")


async def test_the_openai_program_sends_the_same_request(url: str, tab: Tab) -> None:
    page = await open_playground(tab, url)
    await ask_with_settings(page)
    calls = {
        ast.unparse(call.func): {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
        for call in ast.walk(ast.parse(await show_code(page, "Python, openai")))
        if isinstance(call, ast.Call) and ast.unparse(call.func) in {"OpenAI", "client.chat.completions.create"}
    }
    assert calls["OpenAI"] == {"base_url": f"{url}/v1", "api_key": "unused"}
    assert calls["client.chat.completions.create"] == {
        "model": "gpt-oss",
        "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": PROMPT}],
        "temperature": 0.5,
        "max_tokens": 20,
        "reasoning_effort": "low",
        "extra_body": {"fallback": False},
        "stream": True,
    }


async def test_the_ai_sdk_program_sends_the_same_request(url: str, tab: Tab, tmp_path: Path) -> None:
    page = await open_playground(tab, url)
    await ask_with_settings(page)
    code = await show_code(page, "TypeScript, AI SDK")
    file = tmp_path / "ask.mjs"
    file.write_text(code)
    await run(program("node"), "--check", str(file))
    # Both packages are replaced by functions that print their arguments.
    body = code.partition('"ai";\n')[2].rpartition("for await")[0]
    file.write_text(
        "const createOpenAICompatible = (given) => (model) => ({ model, ...given });\n"
        f"const streamText = (given) => console.log(JSON.stringify(given));\n{body}"
    )
    assert json.loads(await run(program("node"), str(file))) == {
        "model": {"model": "gpt-oss", "name": "ollama", "baseURL": f"{url}/v1"},
        "system": SYSTEM,
        "messages": [{"role": "user", "content": PROMPT}],
        "temperature": 0.5,
        "maxOutputTokens": 20,
        "providerOptions": {"ollama": {"reasoningEffort": "low", "fallback": False}},
    }


async def test_every_character_is_escaped_correctly_in_every_language(url: str, tab: Tab) -> None:
    page = await open_playground(tab, url)
    written = await page.evaluate(
        """async (units) => {
            const literals = await import("./assets/playground/literals.js");
            const text = String.fromCharCode(...units);
            return Object.fromEntries(["json", "javascript", "python"].map((name) => [name, literals[name](text)]));
        }""",
        list(memoryview(EVERY_CHARACTER.encode("utf-16-le", "surrogatepass")).cast("H")),
    )
    joined = EVERY_CHARACTER.replace("\ud83d\ude00", "😀")
    assert ast.literal_eval(written["python"]) == joined
    assert json.loads(written["json"]) == joined
    assert written["javascript"] == written["json"]
    # Invisible characters are escaped.
    assert all(text.isprintable() for text in written.values())


async def test_a_key_is_a_variable_and_never_shown(make_settings: MakeSettings, tab: Tab, simulator: Simulator) -> None:
    async with serve(create_app(make_settings(api_keys="correct-horse"))) as url:
        page = tab.page
        await page.goto(f"{url}/playground")
        await page.get_by_role("dialog").get_by_label("API key").fill("correct-horse")
        await page.get_by_role("button", name="Use this key").click()
        await expect(page.locator("#model option")).not_to_have_count(1)
        for choice in await page.locator(".choice").all_text_contents():
            assert "correct-horse" not in await show_code(page, choice)
        code = await show_code(page, "curl")
        assert "event: done" in await run(program("sh"), "-c", code, env={"API_KEY": "correct-horse"})
        assert len(simulator.calls_to("/api/chat")) == 1


async def test_code_can_be_selected_and_copied_by_keyboard(url: str, tab: Tab) -> None:
    await tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = await open_playground(tab, url)
    await page.get_by_role("tab", name="Write").focus()
    await page.keyboard.press("ArrowLeft")
    await expect(page.get_by_role("tab", name="Code")).to_be_focused()
    await page.keyboard.press("Tab")
    await page.keyboard.press("ArrowRight")
    await expect(page.get_by_label("TypeScript, fetch")).to_be_checked()
    await expect(page.locator("#snippet")).to_contain_text("await fetch(")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.locator("#announcement")).to_have_text("Code copied.")
    copied = await page.evaluate("() => navigator.clipboard.readText()")
    assert copied == await page.locator("#snippet").text_content()
