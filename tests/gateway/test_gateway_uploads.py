"""Slots and upload URLs: what is taken, what is refused, and what is left of it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI

from cluster.janitor import keep_clean, sweep
from cluster.settings import Settings, StorageSettings
from cluster.storage import FolderStorage
from tests.support.local import LocalCluster
from tests.support.pictures import noise, png
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

Headers = dict[str, str]
PICTURE = noise()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    limits = settings.uploads.model_copy(update={"max_bytes": 2_000_000, "max_pixels": 1_000_000, "max_per_session": 4})
    return settings.model_copy(update={"uploads": limits})


class Desk:
    """A client of one session's uploads."""

    def __init__(self, http: httpx.AsyncClient, auth: Headers, session_id: str, folder: Path) -> None:
        self.http, self.auth, self.session_id, self.folder = http, auth, session_id, folder

    async def ask(self, size: object = len(PICTURE), name: object = "a.png", mime_type: object = "image/png", **more):
        body = json.dumps({"name": name, "size": size, "mime_type": mime_type})
        headers = self.auth | {"Content-Type": "application/json"} | more.pop("headers", {})
        return await self.http.post(f"/sessions/{self.session_id}/uploads", content=body, headers=headers)

    async def slot(self, **body: object) -> dict[str, str]:
        answer = await self.ask(**body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def put(self, slot: dict[str, str], content=PICTURE, method: str = "PUT", **headers: str) -> httpx.Response:
        return await self.http.request(method, slot["presigned_url"], content=content, headers=headers)

    def kept(self) -> list[bytes]:
        return [path.read_bytes() for path in files_below(self.folder)]


@pytest.fixture
def desk(http: httpx.AsyncClient, auth: Headers, session_id: str, settings: Settings) -> Desk:
    assert settings.storage.folder is not None
    return Desk(http, auth, session_id, settings.storage.folder)


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_a_file_goes_up_without_credentials(desk: Desk) -> None:
    slot = await desk.slot()
    assert slot.keys() == {"presigned_id", "presigned_url", "path"}
    answer = await desk.put(slot, **{"Content-Type": "image/png"})
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert desk.kept() == [PICTURE]


async def test_an_upload_url_works_once(desk: Desk) -> None:
    slot = await desk.slot()
    assert (await desk.put(slot, method="POST")).status_code == 200
    assert code(await desk.put(slot)) == (409, "conflict")
    assert desk.kept() == [PICTURE]


async def test_two_that_come_together_are_one_upload(desk: Desk) -> None:
    slot = await desk.slot()
    answers = await asyncio.gather(*(desk.put(slot) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]


@pytest.mark.parametrize("token", ["x", "x" * 5000, "..%2f..%2fetc%2fpasswd", "%ff%fe", "%00"])
async def test_a_url_that_was_never_given_is_unknown(desk: Desk, token: str) -> None:
    answer = await desk.http.put(f"/uploads/{token}", content=PICTURE)
    assert code(answer) == (404, "not_found")
    assert desk.kept() == []


async def test_the_token_is_nowhere_in_redis(desk: Desk, local: LocalCluster) -> None:
    token = (await desk.slot())["presigned_url"].rpartition("/")[2]
    assert len(token) >= 43, "256 random bits"
    keys = [key async for key in local.redis.scan_iter(f"{local.settings.cluster}:*")]
    values = [await local.redis.dump(key) for key in keys]
    assert not any(token.encode() in each for each in [*keys, *values])
    uploads = [key for key in keys if b":upload" in key or b":slot:" in key]
    assert len(uploads) == 3
    assert all([await local.redis.ttl(key) > 0 for key in uploads])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"size": 0}, 400),
        ({"size": -1}, 400),
        ({"size": 1.5}, 400),
        ({"size": "many"}, 400),
        ({"size": None}, 400),
        ({"name": ""}, 400),
        ({"name": "x" * 257}, 400),
        ({"name": None}, 400),
        ({"name": "\ud800"}, 400),
        ({"mime_type": ""}, 400),
        ({"size": 2_000_001}, 413),
        ({"size": 10 * 2**30}, 413),
        ({"size": 10**40}, 413),
        ({"size": 2_000_000}, 201),
        ({"mime_type": "application/octet-stream"}, 201),
    ],
)
async def test_a_slot_is_for_a_file_that_can_be(desk: Desk, body: dict[str, object], status: int) -> None:
    assert (await desk.ask(**body)).status_code == status


async def test_a_session_has_so_many_uploads(desk: Desk) -> None:
    for _ in range(4):
        await desk.slot()
    answer = await desk.ask()
    assert code(answer) == (429, "quota_exceeded")
    assert answer.headers["Retry-After"]


async def test_a_slot_is_for_whoever_may_operate_the_session(desk: Desk, mint, other_key: str) -> None:
    assert (await desk.ask(headers={"Authorization": ""})).status_code == 401
    assert (await desk.ask(headers=await mint(other_key))).status_code == 404
    desk.session_id = "d0d5a4b2-0000-4000-8000-000000000000"
    assert (await desk.ask()).status_code == 404


async def test_a_session_that_is_over_takes_no_files(desk: Desk) -> None:
    await desk.http.delete(f"/sessions/{desk.session_id}", headers=desk.auth)
    assert code(await desk.ask()) == (404, "not_found")


@pytest.mark.parametrize("name", ["../../../etc/passwd", "/etc/passwd", "..\\..\\x.png", "a\0b", ".", "CON", "a/b.png"])
async def test_a_name_is_never_a_path(desk: Desk, tmp_path: Path, name: str) -> None:
    slot = await desk.slot(name=name)
    assert "passwd" not in slot["path"]
    assert (await desk.put(slot)).status_code == 200
    assert files_below(tmp_path) == [desk.folder / "uploads" / slot["presigned_id"]]


# --- bytes that are not what was announced --------------------------------------------------------------------------


async def dripping(data: bytes, piece: int = 1000) -> AsyncIterator[bytes]:
    """A body without a declared length."""
    for start in range(0, len(data), piece):
        yield data[start : start + piece]


@pytest.mark.parametrize("content", [b"", PICTURE[:-1], PICTURE + b"x"])
@pytest.mark.parametrize("chunked", [False, True])
async def test_more_or_fewer_bytes_than_announced_are_refused(desk: Desk, content: bytes, chunked: bool) -> None:
    slot = await desk.slot()
    answer = await desk.put(slot, dripping(content) if chunked else content)
    assert code(answer) == (400, "size_mismatch")
    assert desk.kept() == []
    assert code(await desk.put(slot)) == (409, "conflict"), "it was the one attempt"


async def test_a_body_without_a_length_is_fine(desk: Desk) -> None:
    assert (await desk.put(await desk.slot(), dripping(PICTURE))).status_code == 200
    assert desk.kept() == [PICTURE]


async def test_ten_gigabytes_are_not_read(desk: Desk) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(10 * 2**10):
            sent += 2**20
            yield bytes(2**20)

    assert code(await desk.put(await desk.slot(size=1_500_000), endless())) == (400, "size_mismatch")
    assert sent <= 3 * 2**20
    declared = await desk.put(await desk.slot(), b"x", **{"Content-Length": str(10 * 2**30)})
    assert code(declared) == (400, "size_mismatch")


async def test_a_file_larger_than_other_bodies_may_be_is_taken(desk: Desk, settings: Settings) -> None:
    picture = noise(size=(800, 600))
    assert len(picture) > settings.limits.max_body_bytes
    assert (await desk.put(await desk.slot(size=len(picture)), picture)).status_code == 200
    assert desk.kept() == [picture]


def digest(data: bytes, name: str = "sha256") -> str:
    return b64encode(hashlib.new(name, data).digest()).decode()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (f"sha-256=:{digest(PICTURE)}:", 200),
        (f"sha-512=:{digest(PICTURE, 'sha512')}:, sha-256=:{digest(PICTURE)}:", 200),
        (f"crc32c=:AAAA:, sha-256=:{digest(PICTURE)}:", 200),
        (f"sha-256=:{digest(b'')}:", "digest_mismatch"),
        (f"sha-256=:{digest(PICTURE)}:, sha-512=:{digest(b'', 'sha512')}:", "digest_mismatch"),
        ("sha-256=:AAAA:", "digest_mismatch"),
        ("sha-256=::", "digest_mismatch"),
        ("sha-256=:A:", "invalid_request"),
        (f"sha-256={digest(PICTURE)}", "invalid_request"),
        ("words", "invalid_request"),
    ],
)
async def test_a_digest_is_compared_if_there_is_one(desk: Desk, header: str, expected: int | str) -> None:
    answer = await desk.put(await desk.slot(), **{"Content-Digest": header})
    if expected == 200:
        assert answer.status_code == 200
    else:
        assert code(answer) == (400, expected)
        assert desk.kept() == []


@pytest.mark.parametrize(
    "content",
    [
        b"<html>" + bytes(100),
        b"words alone",
        noise("GIF"),
        PICTURE[:200],
        png(100_000, 100_000, rows=0),
        png(1000, 1001),
        b"\x89PNG\r\n\x1a\n" + bytes(500),
    ],
)
async def test_what_is_no_picture_is_refused_whatever_it_is_called(desk: Desk, content: bytes) -> None:
    slot = await desk.slot(size=len(content), name="innocent.png", mime_type="image/png")
    assert code(await desk.put(slot, content, **{"Content-Type": "image/png"})) == (415, "unsupported_media")
    assert desk.kept() == []


async def test_a_picture_is_taken_whatever_it_is_called(desk: Desk) -> None:
    slot = await desk.slot(name="a.exe", mime_type="application/x-msdownload")
    assert (await desk.put(slot)).status_code == 200


# --- failures that are not the client's -----------------------------------------------------------------------------


async def test_a_broken_connection_may_be_followed_by_another_attempt(desk: Desk, app: FastAPI) -> None:
    slot = await desk.slot()
    url = urlsplit(slot["presigned_url"]).path
    messages = iter([{"type": "http.request", "body": PICTURE[:10], "more_body": True}, {"type": "http.disconnect"}])
    scope = {"type": "http", "method": "PUT", "path": url, "raw_path": url.encode(), "query_string": b"", "headers": []}

    async def receive():
        return next(messages)

    async def send(message) -> None:
        pass

    await app(scope | {"http_version": "1.1", "scheme": "http", "server": ("gateway", 80)}, receive, send)
    assert desk.kept() == []
    assert (await desk.put(slot)).status_code == 200


async def test_a_storage_that_is_away_may_be_asked_again(desk: Desk) -> None:
    slot = await desk.slot()
    desk.folder.write_bytes(b"not a folder")
    answer = await desk.put(slot)
    assert code(answer) == (503, "unavailable")
    assert answer.headers["Retry-After"]
    desk.folder.unlink()
    assert (await desk.put(slot)).status_code == 200


async def test_a_body_that_takes_too_long_is_given_up(desk: Desk, cluster) -> None:
    limits = cluster._intake._limits
    cluster._intake._limits = limits.model_copy(update={"slot_ttl_s": 0.05})
    forever = asyncio.Event()

    async def stuck() -> AsyncIterator[bytes]:
        yield PICTURE[:10]
        await forever.wait()

    assert code(await desk.put(await desk.slot(), stuck())) == (400, "upload_refused")
    assert desk.kept() == []


# --- addresses and ages ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "base"),
    [
        ({}, "http://gateway/uploads/"),
        ({"Host": "video.example:8443"}, "http://video.example:8443/uploads/"),
        ({"X-Forwarded-Proto": "https", "X-Forwarded-Host": "a.example"}, "https://a.example/uploads/"),
        ({"X-Forwarded-Proto": "https, http", "X-Forwarded-Host": "a.example, inner"}, "https://a.example/uploads/"),
        ({"X-Forwarded-Proto": "javascript"}, "http://gateway/uploads/"),
    ],
)
async def test_the_url_is_the_one_that_the_client_can_reach(desk: Desk, headers: Headers, base: str) -> None:
    answer = await desk.ask(headers=headers)
    assert answer.json()["presigned_url"].startswith(base)


async def test_a_browser_may_send_what_it_needs(desk: Desk) -> None:
    asked = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "content-digest,content-type"}
    answer = await desk.http.options("/uploads/any", headers=asked)
    allowed = {name.lower() for name in answer.headers["Access-Control-Allow-Headers"].split(", ")}
    assert {"content-digest", "content-type"} <= allowed
    assert "PUT" in answer.headers["Access-Control-Allow-Methods"]


async def test_files_go_with_the_session(desk: Desk, until_ready, local: LocalCluster) -> None:
    await until_ready(desk.auth, desk.session_id)
    assert (await desk.put(await desk.slot())).status_code == 200
    await desk.http.delete(f"/sessions/{desk.session_id}", headers=desk.auth)
    await eventually(lambda: desk.kept() == [])
    keys = [key async for key in local.redis.scan_iter(f"{local.settings.cluster}:*upload*")]
    assert keys == []


class Asked(FolderStorage):
    """Counts how often it is swept."""

    asked = 0

    async def drop_older(self, prefix: str, age_s: float) -> int:
        self.asked += 1
        return await super().drop_older(prefix, age_s)


async def test_files_go_with_age(desk: Desk, settings: Settings) -> None:
    assert (await desk.put(await desk.slot())).status_code == 200
    storage = Asked(desk.folder)
    await sweep(storage, settings)
    assert desk.kept() == [PICTURE]
    aged = settings.uploads.model_copy(update={"ttl_s": -10})
    sweeping = asyncio.create_task(keep_clean(storage, settings.model_copy(update={"uploads": aged}), every_s=0.01))
    await eventually(lambda: desk.kept() == [])
    desk.folder.rename(desk.folder.with_name("elsewhere"))
    desk.folder.write_bytes(b"not a folder")
    before = storage.asked
    await eventually(lambda: storage.asked >= before + 4)
    assert not sweeping.done(), "it is asked again each time"
    sweeping.cancel()


def test_a_bucket_needs_a_name() -> None:
    with pytest.raises(ValueError, match="s3_bucket"):
        StorageSettings(s3_bucket="")
