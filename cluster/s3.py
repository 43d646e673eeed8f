"""A bucket of an S3-compatible object store as `cluster.storage.Storage`. Needs the extra `s3` (boto3).

Credentials come from where boto3 looks for them: the environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`), a
profile, or the machine's role. boto3 blocks, so every call goes through a thread; threads may share its client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any, BinaryIO

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from cluster.settings import StorageSettings
from cluster.storage import NotStored, StorageError

_PER_REQUEST = 1000
"""Objects that one request can delete, and that one page of a listing holds."""
_CONFIG = Config(connect_timeout=3, read_timeout=10, retries={"total_max_attempts": 3, "mode": "standard"})
_MISSING = {"NoSuchKey", "404"}


class S3Storage:
    """Files below a prefix of a bucket, which must be there."""

    def __init__(self, settings: StorageSettings) -> None:
        assert settings.s3_bucket is not None
        self._settings = settings
        self._bucket = settings.s3_bucket
        self._prefix = f"{settings.s3_prefix.strip('/')}/".lstrip("/")
        self._client: Any = None
        self._making = Lock()

    async def put(self, key: str, source: BinaryIO) -> None:
        """See `Storage.put`. Large files go in parts."""
        await asyncio.to_thread(self._put, key, source)

    async def get(self, key: str) -> bytes:
        """See `Storage.get`."""
        return await asyncio.to_thread(self._get, key)

    async def delete(self, keys: Iterable[str]) -> None:
        """See `Storage.delete`."""
        names = [self._prefix + key for key in keys]
        for start in range(0, len(names), _PER_REQUEST):
            await asyncio.to_thread(self._delete, names[start : start + _PER_REQUEST])

    async def drop_older(self, prefix: str, age_s: float) -> int:
        """See `Storage.drop_older`."""
        return await asyncio.to_thread(self._drop_older, f"{self._prefix}{prefix}/", age_s)

    # --- in a thread ------------------------------------------------------------------------------------------------

    def _s3(self) -> Any:
        """The client, made when it is first needed: that takes a tenth of a second."""
        with self._making:
            if self._client is None:
                where = {"endpoint_url": self._settings.s3_endpoint, "region_name": self._settings.s3_region}
                self._client = boto3.session.Session().client("s3", config=_CONFIG, **where)
            return self._client

    def _put(self, key: str, source: BinaryIO) -> None:
        with _typed():
            self._s3().upload_fileobj(source, self._bucket, self._prefix + key)

    def _get(self, key: str) -> bytes:
        with _typed():
            data: bytes = self._s3().get_object(Bucket=self._bucket, Key=self._prefix + key)["Body"].read()
            return data

    def _delete(self, names: Sequence[str]) -> None:
        with _typed():
            wanted = {"Objects": [{"Key": name} for name in names], "Quiet": True}
            failed = self._s3().delete_objects(Bucket=self._bucket, Delete=wanted).get("Errors", [])
        if failed:
            raise StorageError(f"{len(failed)} objects were not deleted: {failed[0].get('Code')}")

    def _drop_older(self, prefix: str, age_s: float) -> int:
        before = datetime.now(UTC) - timedelta(seconds=age_s)
        dropped = 0
        with _typed():
            for page in self._s3().get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix):
                old = [each["Key"] for each in page.get("Contents", ()) if each["LastModified"] < before]
                if old:
                    self._delete(old)
                dropped += len(old)
        return dropped


@contextmanager
def _typed() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "unknown")
        raise (NotStored if code in _MISSING else StorageError)(f"the object store answered {code}") from error
    except (BotoCoreError, Boto3Error, OSError) as error:
        raise StorageError(f"the object store did not answer: {type(error).__name__}") from error
