"""Ids of what is there, for generated requests: made-up ids lead to a 404 and nowhere else."""

from __future__ import annotations

import json
import random
import time
import zlib
from collections.abc import Iterator, MutableMapping
from itertools import count
from pathlib import Path
from typing import Any

from schemathesis import Case
from schemathesis.core import NotSet

from cluster.archive import Archive
from cluster.clips import RecordingIndex, Segment
from cluster.journal import Snapshot
from cluster.records import HELD, SessionRecord
from cluster.saved import SavedSnapshots
from cluster.settings import Settings
from cluster.storage import open_storage
from gateway.capability import Capability
from models import registry
from tests.support.local import LocalCluster
from tests.support.pictures import noise
from tests.support.waiting import eventually
from wire.http import CreateSession, ModelRef, SessionState
from wire.playlist import EVENTS_NAME, INIT_NAME, segment_name
from wire.uploads import CreateUpload

OFFERS = [json.loads(path.read_text()) for path in sorted(Path(__file__).parents[1].glob("media/offers/*.json"))]
CANDIDATE = "candidate:1 1 udp 2130706431 127.0.0.1 9 typ host"
PICTURE = noise()
EPOCH = 1
VERSIONS = {"reactor-api-version", "reactor-api-accept-version", "reactor-webrtc-version"}
SNAPSHOT = Snapshot(model="echo", director=registry.find("echo", "tiny").director().snapshot(), stream=b"")
FOREIGN = "key_somebody_else"


class Things:
    """Sessions in every state, a recording of two segments, and upload slots and snapshots as they are needed."""

    def __init__(self, local: LocalCluster, settings: Settings, tenant: str, folder: Path) -> None:
        self._local, self._settings, self._tenant, self._folder = local, settings, tenant, folder
        self._names = count()
        self._ids: dict[str, str] = {}

    async def aim(self, case: Case) -> None:
        """Exchange most of what the case refers to; the same case is always changed in the same way."""
        ids = await self._fresh(case.operation.path)
        body = None if isinstance(case.body, NotSet) else case.body
        parts = (case.path_parameters, case.query, case.headers, case.media_type, body)
        dice = random.Random(zlib.crc32(repr(parts).encode()))
        _exchange(case.path_parameters, ids | _file_names(dice), dice)
        _exchange(case.query, ids, dice)
        if dice.random() < 0.8:  # a request with a bad version goes no further
            for name in VERSIONS & set(case.headers):
                del case.headers[name]
        if isinstance(case.body, dict):
            _exchange_body(case.body, ids, dice)
        elif "slot" in ids and dice.random() < 0.5:
            case.body = PICTURE

    async def _fresh(self, path: str) -> dict[str, str]:
        """Everything, as it was before another case used it up."""
        states = [await self._state(name) for name in ("held", "waiting", "asleep")]
        if states != [SessionState.WAITING, SessionState.PENDING, SessionState.INACTIVE]:
            await self._open_sessions()
        more: dict[str, str] = {}
        if path.startswith("/uploads/"):
            more["slot"] = await self._slot()
        if path.startswith("/snapshots/") or path == "/sessions":
            more["snapshot_id"] = await self._snapshot()
        if path.startswith("/clips/chunks/"):
            clip = Capability(self._tenant, self._ids["closed"], EPOCH, 0, 0)
            more["capability"] = clip.sign(await self._local.client.jwt_secret(), int(time.time()) + 60)
        return self._ids | more

    async def _state(self, name: str) -> SessionState | None:
        record = await self._local.store.get(self._tenant, self._ids.get(name, ""))
        if record is None:
            return None
        return SessionState.WAITING if record.state in HELD else record.state

    async def _open_sessions(self) -> None:
        client = self._local.client
        for session in await client.list_sessions(self._tenant):
            await client.delete_session(self._tenant, session.session_id, None)
        await self._local.idle("echo")
        self._ids["held"] = await self._create()

        async def held() -> bool:
            return await self._state("held") is SessionState.WAITING

        await eventually(held)
        self._ids |= {"waiting": await self._create(), "closed": await self._create()}
        await client.delete_session(self._tenant, self._ids["closed"], None)
        for name, tenant in (("asleep", self._tenant), ("foreign", FOREIGN)):
            self._ids[name] = f"{name}-{next(self._names)}"
            await self._fall_asleep(self._ids[name], tenant)
        await self._record()

    async def _fall_asleep(self, session_id: str, tenant: str) -> None:
        """An INACTIVE session with a snapshot."""
        record = SessionRecord(
            session_id=session_id,
            tenant=tenant,
            model="echo",
            state=SessionState.PENDING,
            created_at=time.time(),
            max_duration_s=600,
        )
        await self._local.store.create(record, snapshot=SNAPSHOT.model_dump_json().encode())
        await self._local.store.end(tenant, session_id, SessionState.INACTIVE, "no client")

    async def _create(self) -> str:
        request = CreateSession(model=ModelRef(name="echo"))
        return (await self._local.client.create_session(self._tenant, request)).session_id

    async def _slot(self) -> str:
        request = CreateUpload(name="a.png", size=len(PICTURE), mime_type="image/png")
        return (await self._local.client.create_upload(self._tenant, self._ids["held"], request))[1]

    async def _snapshot(self) -> str:
        for saved in await self._local.client.saved_snapshots(self._tenant):
            await self._local.client.delete_snapshot(self._tenant, saved.snapshot_id)
        asleep = await self._local.store.get(self._tenant, self._ids["asleep"])
        assert asleep is not None

        async def log() -> bytes:
            return b"{}\n"

        saved = SavedSnapshots(self._local.redis, self._local.store, self._settings)
        return (await saved.save(asleep, "", (), log)).snapshot_id

    async def _record(self) -> None:
        segments = tuple(Segment(number=n, start_s=4.0 * n, duration_s=4.0, size=1) for n in range(2))
        index = RecordingIndex(session_id=self._ids["closed"], epoch=EPOCH, worker="", segments=segments)
        files = {name: self._folder / name for name in (INIT_NAME, segment_name(0), segment_name(1), EVENTS_NAME)}
        for path in files.values():
            path.write_bytes(b"{}")
        archive = Archive(self._local.redis, open_storage(self._settings), self._settings)
        await archive.keep(self._tenant, index, files)


def _file_names(dice: random.Random) -> dict[str, str]:
    return {"name": dice.choice([INIT_NAME, segment_name(0), segment_name(1), EVENTS_NAME])}


def _exchange(parameters: MutableMapping[str, Any], ids: dict[str, str], dice: random.Random) -> None:
    """Of a path or of a query."""
    recorded = "recording" in parameters and dice.random() < 0.8
    for name in set(parameters):
        match name:
            case "session_id" if recorded:
                parameters[name] = ids["closed"]
            case "session_id" if dice.random() < 0.8:
                parameters[name] = ids[dice.choice(["held"] * 6 + ["waiting", "closed", "asleep", "asleep", "foreign"])]
            case "recording" if recorded:
                parameters[name] = EPOCH
            case "start" | "end" if recorded and dice.random() < 0.7:
                parameters[name] = {"start": 1.5, "end": 3.5}[name]
            case "connection_id" if dice.random() < 0.7:
                parameters[name] = dice.choice([1002, 1003, 1001, 1000, 9999, 10_000])
            case "token" if dice.random() < 0.8:
                parameters[name] = ids["slot"]
            case "model" if dice.random() < 0.5:
                parameters[name] = "echo"
            case "snapshot_id" | "capability" | "name" if dice.random() < 0.8:
                parameters[name] = ids[name]
            case _:
                pass


def _exchange_body(body: dict[str, Any], ids: dict[str, str], dice: random.Random) -> None:
    if isinstance(body.get("model"), dict) and dice.random() < 0.7:
        body["model"] = body["model"] | {"name": dice.choice(["echo", "owner/echo"])}
        if "from_snapshot" in body:
            body["from_snapshot"] = dice.choice([ids["snapshot_id"], None])
    if "sdp_offer" in body and dice.random() < 0.6:
        offer = dice.choice(OFFERS)
        body["sdp_offer"] = offer["sdp_offer"] if dice.random() < 0.5 else _with_holes(offer["sdp_offer"], dice)
    for candidate in _dicts(body.get("candidates")):
        candidate["candidate"] = CANDIDATE if dice.random() < 0.5 else _with_holes(CANDIDATE, dice)


def _with_holes(text: str, dice: random.Random) -> str:
    pieces = list(text)
    for _ in range(dice.randrange(1, 6)):
        at = dice.randrange(len(pieces))
        pieces[at : at + dice.choice([0, 1, 1, 40])] = dice.choice(["", " ", "\r\n", "a=", "9" * 12, "\0", "é", "-1"])
    return "".join(pieces)


def _dicts(value: object) -> Iterator[dict[str, Any]]:
    return (each for each in value if isinstance(each, dict)) if isinstance(value, list) else iter(())
