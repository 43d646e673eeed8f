"""Models by name, found through the entry points of the group `longlive_cluster.models`.

An entry point is a factory `model(preset: str, **options) -> Model`. Making a model is cheap and imports no torch;
`Model.load` is what takes time and memory.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from models.contract import Model

GROUP = "longlive_cluster.models"


class UnknownModelError(LookupError):
    """No installed package offers this model."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no model named {name!r}; installed: {', '.join(names()) or 'none'}")


def names() -> list[str]:
    """Names of all installed models, sorted."""
    return sorted(entry_points(group=GROUP).names)


@cache
def find(name: str, preset: str, **options: str | bool | int | float) -> Model:
    """The model `name` in a preset, with some of the preset's options replaced.

    Raises:
        UnknownModelError: no entry point of that name.
        ValueError: the model has no such preset or option, or a value does not fit.
    """
    for point in entry_points(group=GROUP, name=name):
        model: Model = point.load()(preset, **options)
        return model
    raise UnknownModelError(name)
