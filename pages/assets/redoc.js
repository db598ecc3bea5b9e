"use strict";

const SANS = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
const MONO = "ui-monospace, 'SF Mono', Menlo, Consolas, monospace";

const LIGHT = {
  colors: { primary: { main: "#1d6b58" } },
};
const DARK = {
  colors: {
    primary: { main: "#7fcab3" },
    success: { main: "#5fc08c" },
    error: { main: "#f0a099" },
    warning: { main: "#e9c078" },
    gray: { 50: "#15191c", 100: "#22282d" },
    text: { primary: "#e5e8ea", secondary: "#9ba5ae" },
    border: { dark: "#2d343a", light: "#2d343a" },
  },
  schema: { linesColor: "#3d4a4f", nestedBackground: "#15191c", typeNameColor: "#9ba5ae" },
  typography: { code: { color: "#f0a099", backgroundColor: "#262c31" } },
  sidebar: {
    backgroundColor: "#15191c",
    textColor: "#c9d0d5",
    activeTextColor: "#7fcab3",
    groupItems: { activeBackgroundColor: "#1d322c" },
    level1Items: { activeBackgroundColor: "#1d322c" },
  },
  rightPanel: {
    backgroundColor: "#15191c",
    textColor: "#e5e8ea",
    servers: { overlay: { backgroundColor: "#1b1f23", textColor: "#e5e8ea" }, url: { backgroundColor: "#262c31" } },
  },
  codeBlock: { backgroundColor: "#0f1214" },
  fab: { backgroundColor: "#22282d", color: "#7fcab3" },
};

const dark = window.matchMedia("(prefers-color-scheme: dark)");

function theme() {
  const colours = dark.matches ? DARK : LIGHT;
  const typography = { fontFamily: SANS, headings: { fontFamily: SANS }, code: { fontFamily: MONO, ...colours.typography?.code } };
  return { ...colours, typography };
}

function draw() {
  const container = document.createElement("div");
  container.id = "redoc";
  document.getElementById("redoc").replaceWith(container);
  Redoc.init(
    "openapi.json",
    { nativeScrollbars: true, expandResponses: "200", sortRequiredPropsFirst: true, theme: theme() },
    container,
  );
}

draw();
dark.addEventListener("change", draw);
