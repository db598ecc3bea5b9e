"""Plot of the cost of a stream against the number of concurrent streams."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.plan import Figures
from benchmarks.report import COLUMNS
from benchmarks.scenarios import TOKENS_PER_SECOND, PacedStreams

_PANELS: tuple[tuple[str, Callable[[PacedStreams], float]], ...] = (
    ("server CPU, µs per token", lambda paced: paced.cpu_us_per_token),
    ("delay per token, ms (p99)", lambda paced: paced.delay_ms_p99),
    ("memory, KB per stream", lambda paced: paced.memory_kb_per_stream),
)
_COLOURS = {
    "service": "#1f6feb",
    "native": "#8250df",
    "baseline": "#d1242f",
    "floor": "#bf8700",
    "nginx": "#2da44e",
    "olla": "#bf3989",
    "direct": "#8c959f",
}


def draw(figures: Figures, path: Path) -> str | None:
    """Write the plot; return the reason if that is not possible."""
    try:
        matplotlib: Any = importlib.import_module("matplotlib")
        matplotlib.use("Agg")
        pyplot: Any = importlib.import_module("matplotlib.pyplot")
    except ImportError:
        return "no plot: matplotlib is not installed (`make bench` installs it)"
    figure, axes = pyplot.subplots(1, len(_PANELS), figsize=(13, 4.2), layout="constrained")
    for axis, (title, value) in zip(axes, _PANELS, strict=True):
        for name in (name for name in COLUMNS if name in figures.paced):
            if name == "direct" and "delay" not in title:
                continue  # the upstream's own cost is not relevant
            points = sorted(figures.paced[name].items())
            values = [value(paced) for _, paced in points]
            axis.plot([n for n, _ in points], values, marker="o", label=name, color=_COLOURS[name])
        axis.set(title=title, xlabel=f"streams at {TOKENS_PER_SECOND} tokens/s", xlim=(0, None))
        if "delay" in title:
            axis.set_yscale("log")
        else:
            axis.set_ylim(0, None)
        axis.grid(alpha=0.3)
    axes[1].legend(frameon=False)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return None
