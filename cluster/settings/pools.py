"""The pools: how many workers a model has, and what each of them takes."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from cluster.settings.group import Group


class PoolSettings(Group):
    """A pool of equal workers for one model."""

    model: str
    preset: str = "tiny"
    options: dict[str, str | bool | int | float] = Field(default={})
    """Options of the preset that shall differ from it, such as `weights`; each model has its own."""
    num_gpus: float = 0
    """GPUs of one worker; 0 runs the model on the CPU."""
    resources: dict[str, float] = Field(default={})
    """Custom resources of Ray that one worker takes: it is placed on nodes that offer them, and on no others."""
    min_warm: int = Field(default=0, ge=0)
    """Workers kept loaded beyond those that hold a session."""
    idle_s: float = Field(default=60.0, ge=0)
    """A worker is let go once it was not wanted for so long; about what loading takes is a good measure."""
    max_workers: int = Field(default=1, ge=1)
    sessions_per_worker: int = Field(default=1, ge=1)
    """Sessions that a worker holds at most; of those that do not rest no more than its device keeps in time."""
    max_load: float = Field(default=0.9, gt=0, lt=1)
    """Share of a worker's device that the chunks of several sessions may take, by what they were measured to."""
    max_queue: int | None = Field(default=None, ge=0)
    """Waiting sessions of this model; None leaves `LLC_LIMITS__MAX_QUEUE`."""

    @model_validator(mode="after")
    def _has_room_for_what_is_warm(self) -> Self:
        if self.min_warm > self.max_workers:
            raise ValueError(f"min_warm is {self.min_warm}, and max_workers {self.max_workers}")
        return self

    @property
    def device(self) -> str:
        """Where a worker of this pool runs its model; Ray shows it its own GPUs alone, from 0 on."""
        return "cuda:0" if self.num_gpus else "cpu"
