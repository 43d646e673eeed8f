"""Each rendered values file, as objects."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helm.chart import CI, Object, objects, rendered


@pytest.fixture(scope="session", params=CI, ids=lambda path: path.name.removesuffix("-values.yaml"))
def values_file(request: pytest.FixtureRequest) -> Path:
    """One file of `ci/`."""
    return Path(request.param)


@pytest.fixture(scope="session")
def manifest(values_file: Path) -> list[Object]:
    """What Helm 4 makes of it."""
    return objects(rendered(values_file))
