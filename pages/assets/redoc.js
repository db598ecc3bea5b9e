"use strict";

Redoc.init(
  "openapi.json",
  {
    nativeScrollbars: true,
    expandResponses: "200",
    sortRequiredPropsFirst: true,
    theme: {
      colors: { primary: { main: "#1d6b58" } },
      typography: {
        fontFamily: "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
        headings: { fontFamily: "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif" },
        code: { fontFamily: "ui-monospace, 'SF Mono', Menlo, Consolas, monospace" },
      },
    },
  },
  document.getElementById("redoc"),
);
