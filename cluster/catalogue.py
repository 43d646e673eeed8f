"""The models that this cluster serves, as the gateway shows them."""

from __future__ import annotations

from typing import Any

from cluster.describe import openapi
from cluster.errors import UnknownModel
from cluster.settings import Settings
from models import registry
from models.contract import ModelSpec
from wire.http import model_slug


class Catalogue:
    """One model per pool of the settings."""

    def __init__(self, settings: Settings) -> None:
        self._specs = {
            pool.model: registry.find(pool.model, pool.preset, **pool.options).spec for pool in settings.pools
        }

    def names(self) -> list[str]:
        """Slugs, the default first."""
        return list(self._specs)

    def spec(self, model: str) -> ModelSpec:
        """By slug, with or without its owner. Raises UnknownModel."""
        try:
            return self._specs[model_slug(model)]
        except KeyError:
            raise UnknownModel(f"no model named {model}; served here: {', '.join(self._specs)}") from None

    def schema(self, model: str) -> dict[str, Any]:
        """The model's OpenAPI 3.1 document. Raises UnknownModel."""
        return openapi(self.spec(model))
