"""Requests made from our own OpenAPI document: no answer is a failure, and each is one that the document declares."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import given
from schemathesis import APIOperation, BaseSchema, Case, Config, GenerationMode, Response
from schemathesis.checks import CHECKS, load_all_checks

from cluster.redis_server import EmbeddedRedis
from cluster.settings import AuthSettings, LimitSettings, PoolSettings, Settings, StorageSettings, UploadSettings
from tests.gateway.fuzz_aim import Things
from tests.gateway.fuzz_server import FuzzServer
from tests.support.effort import EFFORT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180 * EFFORT)]

KEY = "rk_fuzz"
CONFORMANCE = (
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
OTHER_VERSION = {400, 422, 426, 501}
"""What a request may get for its version headers, before it is asked for a token."""


def times(examples: int) -> hypothesis.settings:
    return hypothesis.settings(
        max_examples=examples * EFFORT,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],  # to shrink a case would take minutes, and the case says enough
        suppress_health_check=[hypothesis.HealthCheck.filter_too_much],
    )


class Fuzz:
    """A gateway, an account on it, and the successes there were."""

    def __init__(self, server: FuzzServer, settings: Settings, folder: Path) -> None:
        load_all_checks()
        token = httpx.post(f"{server.url}/tokens", headers={"Reactor-API-Key": KEY}).json()["jwt"]
        self.credentials = {"Authorization": f"Bearer {token}", "Reactor-API-Key": KEY}
        self.server = server
        self.succeeded: defaultdict[str, set[int]] = defaultdict(set)
        self._http = requests.Session()
        self._checks = CHECKS.get_by_names(CONFORMANCE)
        key = server.run(server.local.client.resolve_key(KEY))
        self._things = Things(server.local, settings, key.key_id, folder)

    def send(self, case: Case, credentials: dict[str, str]) -> Response:
        """Aim a case, send it and check the answer."""
        self.server.run(self._things.aim(case))
        answer = case.call(session=self._http, headers=credentials)
        case.validate_response(answer, checks=self._checks)
        if answer.status_code >= 500:
            assert answer.json()["code"] == "server_version_too_old", self.server.errors.entries[-1:]
        if answer.status_code < 300 and case.method.upper() == case.operation.method.upper():
            self.succeeded[case.operation.label].add(answer.status_code)
        return answer

    def close(self) -> None:
        self._http.close()


@pytest.fixture(scope="module")
def fuzz(redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzz]:
    folder = tmp_path_factory.mktemp("fuzz")
    settings = Settings(
        cluster="test-fuzz",
        api_keys=(KEY,),
        pools=(PoolSettings(model="echo", min_warm=1),),
        storage=StorageSettings(folder=folder / "files"),
        auth=AuthSettings(key_failures=1_000_000),
        uploads=UploadSettings(max_per_session=1_000_000),
        limits=LimitSettings(
            sdp_answer_wait_s=0.05,
            connect_grace_s=600,
            max_sessions_per_tenant=1_000_000,
            max_creations_per_minute=1_000_000,
            max_queue=1_000_000,
        ),
        metrics_port=0,
    )
    with FuzzServer.start(settings, redis_server.url) as server:
        fuzz = Fuzz(server, settings, folder)
        yield fuzz
        fuzz.close()


@pytest.fixture(scope="module")
def operations(fuzz: Fuzz) -> list[APIOperation]:
    config = Config.from_dict({"base-url": fuzz.server.url, "max-stream-events": 1, "request-timeout": 20})
    document: BaseSchema = schemathesis.openapi.from_dict(fuzz.server.app.openapi(), config=config)
    return [operation.ok() for operation in document.get_all_operations()]


def cases(operation: APIOperation, send: Callable[[Case], None]) -> None:
    """What fits the document; what does not; every bound of every parameter."""
    times(8)(given(operation.as_strategy(GenerationMode.POSITIVE))(send))()
    json_body = "application/json" in operation.get_request_payload_content_types()
    if json_body or operation.query:  # else hardly anything can be wrong
        times(4)(given(operation.as_strategy(GenerationMode.NEGATIVE))(send))()
    modes, config = list(GenerationMode), operation.schema.config.generation
    for case in operation.schema.iter_coverage_cases(operation, generation_modes=modes, generation_config=config):
        send(case)


def test_every_operation_answers_as_declared(
    operations: list[APIOperation], fuzz: Fuzz, subtests: pytest.Subtests
) -> None:
    def send(case: Case) -> None:
        fuzz.send(case, fuzz.credentials)

    for operation in operations:
        with subtests.test(operation.label):
            cases(operation, send)
            assert fuzz.succeeded[operation.label], "only refusals: the cases missed what is there"


def test_without_credentials_nothing_is_answered_but_that(
    operations: list[APIOperation], fuzz: Fuzz, subtests: pytest.Subtests
) -> None:
    def send(case: Case) -> None:
        case.headers.pop("Authorization", None)
        case.headers.pop("Reactor-API-Key", None)
        answer = fuzz.send(case, {})
        assert answer.status_code == 401 or answer.status_code in OTHER_VERSION

    for operation in operations:
        if "security" in operation.definition.raw:
            with subtests.test(operation.label):
                times(4)(given(operation.as_strategy())(send))()
