"""The place of all files that outlive a session's worker: uploads, and recordings that are over."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from cluster.settings.group import Group


class StorageSettings(Group):
    """Where files are kept. Without a bucket it is a folder, which gateways and workers must share."""

    folder: Path | None = None
    """None: one of this cluster and user below the system's folder for temporary files."""
    s3_bucket: str | None = Field(default=None, min_length=3)
    """Bucket of an S3-compatible object store, which must exist; needs the extra `s3`."""
    s3_prefix: str = "longlive-cluster"
    s3_endpoint: str | None = None
    """URL of the object store; None is Amazon's."""
    s3_region: str | None = None

    @model_validator(mode="after")
    def _of_a_bucket(self) -> Self:
        if self.s3_bucket is None and (self.s3_endpoint or self.s3_region):
            raise ValueError("s3_endpoint and s3_region are those of an s3_bucket, and there is none")
        return self
