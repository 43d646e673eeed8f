"""What is made from values.yaml is current, and every value is explained."""

from __future__ import annotations

import json

import pytest
import yaml

from helm.document import CHART, made
from helm.values_comments import documented

pytestmark = pytest.mark.fast


def test_readme_and_schema_are_current():
    for path, text in made().items():
        assert path.read_text() == text, f"{path.name} is not what values.yaml and the settings say: run `make chart`"


def _leaves(tree: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(tree, dict) or not tree:
        return [path]
    return [leaf for key, each in tree.items() for leaf in _leaves(each, (*path, key))]


def test_every_value_is_explained():
    values = (CHART / "values.yaml").read_text()
    explained = {each.path for each in documented(values)}
    missing = [
        path for path in _leaves(yaml.safe_load(values)) if not {path[:n] for n in range(len(path) + 1)} & explained
    ]
    assert not missing


def test_nothing_unknown_is_allowed_anywhere():
    """Each object of the schema names its properties, or says what all of them are."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    kept_open = {"affinity", "valueFrom"}

    def check(node: object, name: str) -> None:
        if isinstance(node, dict):
            if node.get("type") == "object" and name not in kept_open:
                assert "additionalProperties" in node, name
            for key, each in node.items():
                check(each, key)
        elif isinstance(node, list):
            for each in node:
                check(each, name)

    check(schema, "values")
