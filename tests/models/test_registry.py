"""Models are found by name, through entry points."""

from __future__ import annotations

import pytest

from models import registry

pytestmark = pytest.mark.fast


def test_installed_models_are_found():
    assert registry.names() == ["echo", "longlive-v2"]
    assert registry.find("longlive-v2", "tiny").spec.name == "longlive-v2"
    assert registry.find("echo", "tiny") is registry.find("echo", "tiny"), "declared once per process"


def test_an_unknown_model_is_named_with_what_there_is():
    with pytest.raises(registry.UnknownModelError, match=r"'nonesuch'.*echo, longlive-v2"):
        registry.find("nonesuch", "tiny")


def test_an_unknown_preset_is_refused():
    with pytest.raises(ValueError, match="huge"):
        registry.find("longlive-v2", "huge")
