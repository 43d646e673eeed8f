"""Every values file goes through both Helms, and both make the same of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helm.chart import CHART, CI, HELM, helm, objects, rendered

pytestmark = pytest.mark.slow


def test_the_cases_that_are_promised_are_there():
    names = {path.name.removesuffix("-values.yaml") for path in CI}
    assert names == {"laptop", "single-node", "gpu-pool", "multi-model", "host-network"}


@pytest.mark.parametrize("major", HELM)
def test_lint_is_strict(major: str, values_file: Path):
    helm(major, "lint", "--strict", str(CHART), "-f", str(values_file))


def test_both_helms_make_the_same(values_file: Path):
    assert rendered(values_file, "3") == rendered(values_file, "4")


def test_the_charts_own_values_are_enough():
    assert objects(rendered(None)) == objects(rendered(None, "3"))


def test_names_are_there_once(values_file: Path):
    names = [(each["kind"], each["metadata"]["name"]) for each in objects(rendered(values_file))]
    assert len(names) == len(set(names))
