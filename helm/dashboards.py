"""Grafana's dashboards, from `helm.panels`: one layout, a variable for the data source and one for the model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "longlive-cluster" / "files" / "dashboards"
WIDTH, HEIGHT, COLUMNS = 8, 7, 3
SCHEMA = 39
"""Of Grafana 10 and 11."""


@dataclass(frozen=True, slots=True)
class Panel:
    """A graph over time. `queries` are in PromQL by legend; `unit` is one of Grafana's. `why_empty` says why there may
    be no data where nothing is wrong."""

    title: str
    unit: str
    queries: dict[str, str]
    why_empty: str = ""


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A page of panels."""

    name: str
    title: str
    panels: tuple[Panel, ...]


def made(dashboards: tuple[Dashboard, ...]) -> dict[Path, str]:
    """The files, and what they should say."""
    return {FOLDER / f"{each.name}.json": json.dumps(_dashboard(each), indent=1) + "\n" for each in dashboards}


def _dashboard(dashboard: Dashboard) -> dict[str, Any]:
    return {
        "uid": f"longlive-{dashboard.name}",
        "title": f"longlive-cluster: {dashboard.title}",
        "tags": ["longlive-cluster"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "links": [{"type": "dashboards", "tags": ["longlive-cluster"], "title": "More", "asDropdown": True}],
        "templating": {"list": [_datasource(), _model()]},
        "panels": [_panel(number, each) for number, each in enumerate(dashboard.panels)],
    }


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}


def _model() -> dict[str, Any]:
    return {
        "name": "model",
        "type": "query",
        "label": "Model",
        "datasource": _source(),
        "query": "label_values(llc_workers, model)",
        "refresh": 2,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }


def _source() -> dict[str, str]:
    return {"type": "prometheus", "uid": "${datasource}"}


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, COLUMNS)
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.why_empty,
        "datasource": _source(),
        "gridPos": {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + index), "expr": query, "legendFormat": legend}
            for index, (legend, query) in enumerate(panel.queries.items())
        ],
    }
