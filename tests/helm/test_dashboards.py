"""The dashboards: nothing but what is made, and nothing that nobody exports."""

from __future__ import annotations

import json
import re
from itertools import chain
from pathlib import Path

import pytest
import yaml

from helm.dashboards import FOLDER
from helm.document import made
from tests.helm.chart import CHART, objects, of_kind, with_values

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FILES = {path.name: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}
KNOWN = set(re.findall(r"^\| `(llc_\w+)` \|", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))
PARTS = re.compile(r"_(?:bucket|count|sum)$")


def queries() -> list[str]:
    panels = chain.from_iterable(dashboard["panels"] for dashboard in FILES.values())
    return [target["expr"] for panel in panels for target in panel["targets"]]


def test_there_are_those_that_are_made_and_no_others():
    assert set(FILES) == {path.name for path in made() if path.parent == FOLDER}
    assert set(FILES) == {f"{name}.json" for name in ("sessions", "gpu", "media", "admission", "reliability")}
    assert len({dashboard["uid"] for dashboard in FILES.values()}) == len(FILES)


def test_each_panel_asks_the_chosen_data_source():
    for dashboard in FILES.values():
        assert [each["name"] for each in dashboard["templating"]["list"]] == ["datasource", "model"]
        assert len({panel["title"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
        places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in dashboard["panels"]}
        assert len(places) == len(dashboard["panels"])
        assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {"${datasource}"}


def test_queries_and_alerts_name_series_that_are_exported():
    groups = yaml.safe_load((CHART / "files" / "rules" / "alerts.yaml").read_text())["groups"]
    alerts = [rule["expr"] for group in groups for rule in group["rules"]]
    pages = [path.read_text() for path in (ROOT / "docs" / "runbooks").glob("*.md")]
    named = set(chain.from_iterable(re.findall(r"\bllc_\w+", text) for text in (*queries(), *alerts, *pages)))
    assert len(named) > 30
    assert {name for name in named if name not in KNOWN and PARTS.sub("", name) not in KNOWN} == set()


def test_the_chart_carries_them():
    found = of_kind(objects(with_values({"monitoring": {"dashboards": {"enabled": True}}})), "ConfigMap")
    (carried,) = [each for each in found if each["metadata"]["name"].endswith("-dashboards")]
    assert {name: json.loads(text) for name, text in carried["data"].items()} == FILES
    assert carried["metadata"]["labels"]["grafana_dashboard"] == "1"
