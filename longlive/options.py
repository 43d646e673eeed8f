"""The switches of a preset: what an operator may set without touching the model's sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Options(BaseModel):
    """Each changes speed, memory or the picture in a stated way; `docs/engine.md` has the figures."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: Path | None = Field(default=None, description="Folder of checkpoints; none means random weights.")
    steps: Literal[2, 3, 4] = Field(default=4, description="Steps of the sampler.")
    stream: bool = Field(
        default=False, description="Keep the VAE state within a scene: 29 then 32 pictures a chunk, and no seam."
    )
    history: Literal["window", "scene"] = Field(
        default="window",
        description="Latents kept for snapshots: those in the window, or all of the scene, for an exact restoration.",
    )
    dtype: Literal["float32", "bfloat16"] = Field(default="bfloat16", description="Of weights and activations.")
    attention: str = Field(default="auto", description="Backend of self-attention (`wan.backends`).")
    linears: Literal["plain", "fp8"] = Field(default="plain", description="FP8 halves the blocks' weights.")
    kernels: Literal["torch", "triton"] = Field(default="torch", description="Of norms, modulation and rotation.")
    decoder: Literal["wan", "tiny"] = Field(
        default="wan", description="The VAE of Wan2.2, full or pruned; or TAEW2.2, which is coarser and far cheaper."
    )
    compile: bool = Field(
        default=False, description="Compile the blocks and the decoder; the first chunks take longer."
    )
    vae_device: str | None = Field(default=None, description="A device of its own for the decoder.")
    prompts: int = Field(default=16, ge=1, description="Prompts kept encoded.")
    threads: int = Field(default=1, ge=1, description="Threads of torch on a CPU.")
