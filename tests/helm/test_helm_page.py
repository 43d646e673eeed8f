"""docs/kubernetes.md says what is so: its values render, and the values that it names exist."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm.chart import CHART, objects, of_kind, ray_groups, with_values

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parents[2] / "docs" / "kubernetes.md").read_text()
BLOCKS = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]


def _merged(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    inner = {key: _merged(base[key], more[key]) for key in base.keys() & more.keys() if isinstance(base[key], dict)}
    return base | more | inner


def test_the_example_is_what_the_page_says():
    found = objects(with_values(BLOCKS[0]))
    groups = ray_groups(found)
    assert set(groups) == {"head", "control", "longlive"}
    assert groups["longlive"]["replicas"] == 2
    assert groups["longlive"]["rayStartParams"]["num-gpus"] == "1"
    kinds = {each["kind"] for each in found}
    assert {"RayService", "Ingress", "StatefulSet", "DaemonSet", "NetworkPolicy", "PodDisruptionBudget"} <= kinds


@pytest.mark.parametrize("block", BLOCKS[1:], ids=lambda block: str(next(iter(block))))
def test_what_is_added_later_renders_with_it(block: dict[str, Any]):
    assert of_kind(objects(with_values(_merged(BLOCKS[0], block))), "RayService")


def test_values_that_are_named_exist():
    schema = json.loads((CHART / "values.schema.json").read_text())
    named = set(re.findall(r"`([a-z][A-Za-z]*(?:\.[A-Za-z_]+)+)(?::[^`]*)?`", PAGE))
    values = [path.split(".") for path in sorted(named) if path.partition(".")[0] in schema["properties"]]
    assert len(values) > 10
    for path in values:
        node = schema
        for name in path:
            assert name in node["properties"], ".".join(path)
            node = node["properties"][name]
