"""Pictures of the dashboards for the docs: their panels' queries, from a real Prometheus, drawn with matplotlib.

    python -m benchmarks.dashboards --minutes 2

Not Grafana's own screens: the same queries, legends and units, over sessions that come, wait and go, with one worker
killed on the way.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlparse

import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.viewer import Viewer, signed_in
from helm.dashboards import COLUMNS, Dashboard, Panel
from helm.panels import ALL
from tests.support.prometheus import Prometheus, prometheus
from tests.support.server import METRICS_PORTS, WORKERS, Server

IMAGES = Path(__file__).parents[1] / "docs" / "images"
RULES = Path(__file__).parents[1] / "helm" / "longlive-cluster" / "files" / "rules" / "alerts.yaml"
POOLS = ({"model": "longlive-v2", "min_warm": 1, "max_workers": 2},)
STEP_S = 1.0
MOST_NAMED, LONGEST_NAME = 6, 36
"""Of a panel's lines, and letters of a line's name."""
WINDOW = "20s"
SCALES = {
    "percentunit": (100.0, "%"),
    "bytes": (1e-6, "MB"),
    "Bps": (1e-3, "kB/s"),
    "bps": (1e-6, "Mbit/s"),
    "s": (1.0, "s"),
}
BACKGROUND, INK, GRID = "#111217", "#ccccdc", "#2c2f36"


async def play(server: Server, seconds: float) -> None:
    """Three directors for two workers, in turns; half-way the worker of one is killed."""
    until = time.monotonic() + seconds
    async with signed_in(server.url, server.api_key) as api:

        async def directs() -> None:
            while time.monotonic() < until:
                async with await Viewer.create(api, "longlive-v2") as viewer:
                    await viewer.connect()
                    viewer.command("set_shot", prompt="a red dune at dawn")
                    viewer.command("start")
                    ends = time.monotonic() + seconds / 4
                    while time.monotonic() < min(ends, until):
                        await asyncio.sleep(2)
                        viewer.command("set_shot", prompt=f"a harbour at {time.monotonic():.0f}")

        async def kills() -> None:
            await asyncio.sleep(seconds / 2)
            os.kill(server.pids(WORKERS)[0], signal.SIGKILL)

        await asyncio.gather(*(directs() for _ in range(3)), kills())


def draw(told: Prometheus, dashboard: Dashboard, start: float, end: float) -> Path:
    """One page, as Grafana lays it out; the time is in seconds."""
    rows = math.ceil(len(dashboard.panels) / COLUMNS)
    figure = Figure(figsize=(16, 2.9 * rows + 0.6), facecolor=BACKGROUND, layout="constrained")
    figure.suptitle(f"longlive-cluster: {dashboard.title}", color=INK, x=0.01, ha="left")
    for number, panel in enumerate(dashboard.panels):
        _draw(figure.add_subplot(rows, COLUMNS, number + 1), told, panel, start, end)
    path = IMAGES / f"dashboard-{dashboard.name}.png"
    figure.savefig(path, dpi=70)
    return path


def _draw(axes: Axes, told: Prometheus, panel: Panel, start: float, end: float) -> None:
    scale, unit = SCALES.get(panel.unit, (1.0, ""))
    for legend, query in panel.queries.items():
        asked = query.replace("$__rate_interval", WINDOW).replace("$model", ".*")
        for series in told.history(asked, start, end, STEP_S):
            points = [(at - start, scale * float(value)) for at, value in series["values"]]
            axes.plot(*zip(*points, strict=True), label=_filled(legend, series["metric"]), linewidth=1.2)
    axes.set_title(f"{panel.title} ({unit})" if unit else panel.title, color=INK, fontsize=9, loc="left")
    axes.set_facecolor(BACKGROUND)
    axes.tick_params(colors=INK, labelsize=7)
    axes.grid(color=GRID, linewidth=0.5)
    axes.spines[:].set_color(GRID)
    axes.set_xlim(0, end - start)
    axes.set_ylim(0, 1.3 * axes.get_ylim()[1])
    if axes.lines:
        some = axes.lines[:MOST_NAMED]
        legend = axes.legend(
            handles=some, fontsize=6, facecolor=BACKGROUND, edgecolor=GRID, labelcolor=INK, loc="upper left", ncols=2
        )
        legend.set_in_layout(False)
    else:
        axes.text(0.5, 0.5, "no data", color=INK, transform=axes.transAxes, ha="center")


def _filled(legend: str, labels: dict[str, Any]) -> str:
    for name, value in labels.items():
        legend = legend.replace(f"{{{{{name}}}}}", value)
    return legend if len(legend) <= LONGEST_NAME else f"{legend[:LONGEST_NAME]}…"


def main(minutes: Annotated[float, typer.Option(help="How long sessions come and go.")] = 2.0) -> None:
    """Play and draw."""
    with tempfile.TemporaryDirectory() as folder, Server.start(POOLS) as server:
        host = urlparse(server.url).hostname
        ports = range(server.metrics_port, server.metrics_port + METRICS_PORTS)
        targets = {"cluster": [f"{host}:{port}" for port in ports]}
        with prometheus(Path(folder), targets, [RULES]) as told:
            start = time.time()
            asyncio.run(play(server, 60 * minutes))
            for dashboard in ALL:
                print(draw(told, dashboard, start, time.time()))


if __name__ == "__main__":
    typer.run(main)
