// Entry point: tabs, API key, health, models, and the three tabs' contents.

import { showAbilities, startAbilities } from "./abilities.js";
import { hasKey, keepKey } from "./api.js";
import { showCode, startCode } from "./code.js";
import { startComparison } from "./comparison.js";
import { startConversation } from "./conversation.js";
import { byId } from "./elements.js";
import { watchHealth } from "./health.js";
import { loadModels } from "./models.js";

const tabs = [...document.querySelectorAll("[role=tab]")];

function select(tab) {
  for (const each of tabs) {
    const isChosen = each === tab;
    each.setAttribute("aria-selected", String(isChosen));
    each.tabIndex = isChosen ? 0 : -1;
    byId(each.getAttribute("aria-controls")).hidden = !isChosen;
  }
  if (tab.id === "tab-code") showCode();
}

for (const [at, tab] of tabs.entries()) {
  tab.addEventListener("click", () => select(tab));
  tab.addEventListener("keydown", ({ key }) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (!step) return;
    const next = tabs[(at + step + tabs.length) % tabs.length];
    select(next);
    next.focus();
  });
}

function askForKey() {
  const problem = byId("key-problem");
  problem.textContent = hasKey() ? "This key is not valid." : "";
  problem.hidden = !hasKey();
  byId("change-key").hidden = false;
  byId("key").value = "";
  if (!byId("key-dialog").open) byId("key-dialog").showModal();
}

byId("change-key").addEventListener("click", () => {
  askForKey();
  byId("key-problem").hidden = true;
});
byId("key-cancel").addEventListener("click", () => byId("key-dialog").close());
byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepKey(byId("key").value.trim());
  byId("key-dialog").close();
  refreshModels();
});

async function refreshModels() {
  try {
    await loadModels();
    await showAbilities();
  } catch (error) {
    if (error.code === "unauthorized") askForKey();
  }
}

byId("change-key").hidden = !hasKey();
if (matchMedia("(max-width: 820px)").matches) byId("settings").open = false;
startConversation({ onUnauthorized: askForKey });
startComparison({ onUnauthorized: askForKey });
startCode();
startAbilities();
watchHealth({ onHealthy: refreshModels });
refreshModels();
