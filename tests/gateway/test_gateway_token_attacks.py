"""The attack list of `docs/security.md` against a gateway under each way of signing. All of it ends at the door."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import jwt
import pytest
from structlog.testing import capture_logs

from cluster.client import ClusterClient
from cluster.settings import Settings
from gateway import authority
from gateway.claims import MAX_TOKEN_BYTES
from tests.support.auth import (
    UNKNOWN,
    by_hand,
    gateway,
    look,
    private_pem,
    public_key,
    public_pem,
    segment,
    with_auth,
)
from tests.support.jwks import JwksServer
from wire.http import TOKEN_LIFETIME_MAX_S

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LONG_PAST, LATER = 1_000_000_000, int(time.time()) + 3600


@dataclass(frozen=True)
class Target:
    """A gateway, a token that it takes, and what its owner signs with."""

    http: httpx.AsyncClient
    algorithm: str
    key: str
    token: str
    claims: dict[str, Any]

    @property
    def header(self) -> dict[str, Any]:
        return jwt.get_unverified_header(self.token)

    def sealed(self, header: dict[str, Any] | str, payload: dict[str, Any] | str, algorithm: str | None = None) -> str:
        """Any header over any payload, with the owner's good signature."""
        message = f"{segment(header)}.{segment(payload)}"
        signer = jwt.PyJWS().get_algorithm_by_name(algorithm or self.algorithm)
        return f"{message}.{segment(signer.sign(message.encode(), signer.prepare_key(self.key)))}"

    def changed(self, **claims: Any) -> str:
        return self.sealed(self.header, self.claims | claims)


Targets = list[Target]


@pytest.fixture
async def targets(cluster: ClusterClient, settings: Settings, api_key: str) -> AsyncIterator[Targets]:
    """One for each way of signing."""
    async with AsyncExitStack() as stack:
        found = []
        for algorithm in ("HS256", "RS256", "ES256"):
            own = None if algorithm == "HS256" else private_pem(algorithm)
            http = await stack.enter_async_context(gateway(cluster, with_auth(settings, signing_key=own)))
            token = (await http.post("/tokens", headers={"Reactor-API-Key": api_key})).json()["jwt"]
            claims = jwt.decode(token, options={"verify_signature": False})
            found.append(Target(http, algorithm, own or await cluster.jwt_secret(), token, claims))
        yield found


async def refused(target: Target, token: str, code: str = "invalid_token") -> None:
    answer = await look(target.http, token)
    assert (answer.status_code, answer.json()["code"]) == (401, code), (target.algorithm, token, answer.text)
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    assert token[:40] not in answer.text


async def test_what_is_attacked_is_good_as_it_is(targets: Targets) -> None:
    for target in targets:
        assert target.header["alg"] == target.algorithm
        assert (await look(target.http, target.token)).status_code == 404
        assert (await look(target.http, target.changed())).status_code == 404


async def test_alg_none(targets: Targets) -> None:
    for target in targets:
        for name in ["none", "None", "NONE", "nOnE", "", None]:
            await refused(target, by_hand(target.header | {"alg": name}, target.claims, None))
            signature = target.token.rpartition(".")[2]
            await refused(target, by_hand(target.header | {"alg": name}, target.claims, None) + signature)


async def test_alg_confusion_with_the_public_key(targets: Targets) -> None:
    """The public key is everybody's: it must not become an HMAC secret, however it is written."""
    for target in targets[1:]:
        pem = public_pem(target.key)
        published = (await target.http.get("/.well-known/jwks.json")).json()["keys"][0]
        spellings = [
            pem,
            pem.strip(),
            pem.replace("\n", ""),
            json.dumps(published),
            published.get("n") or published["x"],
        ]
        for spelling in spellings:
            for header in (target.header | {"alg": "HS256"}, {"alg": "HS256", "typ": "JWT"}):
                await refused(target, by_hand(header, target.claims, spelling.encode()))


async def test_another_algorithm_of_the_same_key(targets: Targets) -> None:
    families = {"HS256": ["HS384", "HS512"], "RS256": ["RS384", "RS512", "PS256"], "ES256": []}
    for target in targets:
        for algorithm in families[target.algorithm]:
            await refused(target, target.sealed(target.header | {"alg": algorithm}, target.claims, algorithm))
        for lie in ("HS384", "RS512", "PS256", "ES384", "ES256K", "EdDSA", "XS1"):
            await refused(target, target.sealed(target.header | {"alg": lie}, target.claims))


async def test_kid_tricks(targets: Targets) -> None:
    """A key id is looked up among known ones and goes nowhere else."""
    for target in targets:
        for kid in [
            "../../../../../dev/null",
            "/proc/self/environ",
            "file:///etc/passwd",
            "x' UNION SELECT 'secret' --",
            "*",
            "key_of:0",
            "",
            "unknown",
            "\u0000",
            "k" * 4000,
        ]:
            await refused(target, target.sealed(target.header | {"kid": kid}, target.claims))
            for secret in (b"", b"\0", kid.encode(), b"secret"):
                await refused(target, by_hand({"alg": "HS256", "kid": kid}, target.claims, secret))


async def test_kid_of_another_type(targets: Targets) -> None:
    for target in targets:
        for kid in [7, 1.5, True, ["a"], {"a": 1}]:
            await refused(target, target.sealed(target.header | {"kid": kid}, target.claims))


async def test_a_key_of_another_way_of_signing(targets: Targets) -> None:
    """Taking the `kid` away, or adding one, does not bring the other kind of key into play."""
    for target in targets:
        other = private_pem("ES256", "attacker")
        thumbprint = target.header.get("kid") or "any"
        await refused(target, jwt.encode(target.claims, other, "ES256"))
        await refused(target, jwt.encode(target.claims, other, "ES256", headers={"kid": thumbprint}))
        await refused(target, jwt.encode(target.claims, "s" * 64, "HS256"))
        await refused(target, jwt.encode(target.claims, "s" * 64, "HS256", headers={"kid": thumbprint}))


async def test_a_key_that_the_token_brings_along(targets: Targets) -> None:
    for target in targets:
        own = private_pem("ES256", "attacker")
        jwk = jwt.algorithms.ECAlgorithm.to_jwk(public_key(own), as_dict=True) | {"kid": "own", "alg": "ES256"}
        with JwksServer([jwk]) as server:
            for extra in ({"jwk": jwk}, {"jku": server.url}, {"x5u": server.url}, {"x5c": ["MIIB"]}):
                for kid in ({"kid": "own"}, {"kid": target.header.get("kid") or "own"}, {}):
                    await refused(target, jwt.encode(target.claims, own, "ES256", headers={**extra, **kid}))
            assert server.asked == 0


async def test_expired(targets: Targets) -> None:
    for target in targets:
        await refused(target, target.changed(exp=int(time.time()) - 1), "token_expired")
        await refused(target, target.changed(exp=LONG_PAST), "token_expired")
        await refused(target, target.changed(exp=0), "token_expired")
        await refused(target, target.changed(exp=-1), "token_expired")


async def test_expired_after_it_was_good(targets: Targets, monkeypatch: pytest.MonkeyPatch) -> None:
    for target in targets:
        assert (await look(target.http, target.token)).status_code == 404
    later = SimpleNamespace(time=lambda: LATER + TOKEN_LIFETIME_MAX_S)
    monkeypatch.setattr(authority, "time", later)
    for target in targets:
        await refused(target, target.token, "token_expired")


async def test_not_yet_valid(targets: Targets) -> None:
    for target in targets:
        await refused(target, target.changed(nbf=LATER, exp=LATER + 60))
        await refused(target, target.changed(iat=LATER, exp=LATER + 60))


async def test_a_lifetime_longer_than_the_longest(targets: Targets) -> None:
    """Even with a good signature a token ends six hours after it was made."""
    for target in targets:
        now = int(time.time())
        await refused(target, target.changed(iat=now - 21_601, exp=LATER), "token_expired")
        assert (await look(target.http, target.changed(iat=now - 21_000, exp=10**15))).status_code == 404


async def test_times_that_are_none(targets: Targets) -> None:
    for target in targets:
        for value in ["soon", "9999999999", True, [9999999999], {}, None, "NaN", 1e400, -1e400]:
            for claim in ["exp", "iat", "nbf"]:
                await refused(target, target.changed(**{claim: value}))


async def test_times_beyond_every_clock(targets: Targets) -> None:
    for target in targets:
        await refused(target, target.changed(iat=10**400))
        await refused(target, target.changed(exp=-(10**400)), "token_expired")


async def test_wrong_audience(targets: Targets) -> None:
    for target in targets:
        for audience in ["another", ["another", "more"], ["longlive"]]:
            await refused(target, target.changed(aud=audience))


async def test_wrong_issuer(targets: Targets) -> None:
    for target in targets:
        for iss in ["", "another", "longlive-cluster/", "longlive-cluster/another", ["{own}"], {"a": 1}, 1]:
            iss = [target.claims["iss"]] if iss == ["{own}"] else iss
            await refused(target, target.changed(iss=iss))


async def test_a_subject_that_is_no_account(targets: Targets) -> None:
    for target in targets:
        for subject in ["key_0000000000000000", "", "*", "../key", None, ["key"], 7]:
            await refused(target, target.changed(sub=subject))


async def test_tampered_payload(targets: Targets) -> None:
    for target in targets:
        for change in [{"sub": "key_0000000000000000"}, {"exp": 10**10}, {"authorization_details": None}, {"iss": "x"}]:
            header, _, signature = target.token.split(".")
            await refused(target, f"{header}.{segment(target.claims | change)}.{signature}")


async def test_every_flipped_bit_of_a_signature(targets: Targets) -> None:
    for target in targets:
        head, _, signature = target.token.rpartition(".")
        for position in range(0, len(signature) - 1, 7):  # the last character has bits that mean nothing
            other = "A" if signature[position] != "A" else "B"
            await refused(target, f"{head}.{signature[:position]}{other}{signature[position + 1 :]}")


async def test_empty_signature(targets: Targets) -> None:
    for target in targets:
        head, _, signature = target.token.rpartition(".")
        for forged in ("", "=", "AA", signature[:-8], segment(bytes(64)), segment(bytes(256)), segment(bytes(32))):
            await refused(target, f"{head}.{forged}")
        await refused(target, head)


async def test_the_signature_of_another_token(targets: Targets) -> None:
    for target in targets:
        head = target.token.rpartition(".")[0]
        await refused(target, f"{head}.{target.changed(jti='another').rpartition('.')[2]}")


async def test_duplicated_claims(targets: Targets) -> None:
    """Of a name that is there twice, a proxy and the gateway may each take another one."""
    for target in targets:
        for claim in ["sub", "exp", "iss", "authorization_details"]:
            value = json.dumps(target.claims.get(claim, []))
            body = json.dumps(target.claims)
            await refused(
                target, target.sealed(target.header, f'{{"{claim}": {value}, {body[1:-1]}, "{claim}": {value}}}')
            )


async def test_duplicated_header_names(targets: Targets) -> None:
    for target in targets:
        header = json.dumps(target.header)
        for twins in (
            f'{header[:-1]}, "alg": "none"}}',
            f'{{"alg": "none", {header[1:]}',
            f'{header[:-1]}, "typ": "JWT"}}',
        ):
            await refused(target, target.sealed(twins, target.claims))


async def test_huge_token(targets: Targets) -> None:
    """A good signature does not help: it is not even looked at."""
    for target in targets:
        big = target.changed(padding="x" * MAX_TOKEN_BYTES)
        assert len(big) > MAX_TOKEN_BYTES
        await refused(target, big)
        await refused(target, "a." * 200_000)
        await refused(target, f"{'A' * 10**6}.{'A' * 10**6}.{'A' * 10**6}")


async def test_json_that_overwhelms_a_parser(targets: Targets) -> None:
    for target in targets:
        for nested in ["[" * 4000, '{"a":' * 900, "1" * 5000]:
            await refused(target, target.sealed(target.header, nested))
            await refused(target, target.sealed(nested, target.claims))


async def test_payloads_that_are_no_claims(targets: Targets) -> None:
    for target in targets:
        for payload in ["[]", "null", "7", '"text"', "", "\ufeff{}", "{}", "{'iss': 1}", "not json"]:
            await refused(target, target.sealed(target.header, payload))
        await refused(target, f"{segment(target.header)}.{segment(bytes([0xED, 0xA0, 0x80]))}.{segment(b'x' * 32)}")


async def test_critical_extensions_that_nobody_knows(targets: Targets) -> None:
    for target in targets:
        for extra in ({"crit": ["exp"], "exp": 1}, {"crit": []}, {"crit": ["b64"], "b64": False}, {"b64": False}):
            await refused(target, target.sealed(target.header | extra, target.claims))


async def test_an_encrypted_token(targets: Targets) -> None:
    for target in targets:
        await refused(target, f"{segment({'alg': 'dir', 'enc': 'A256GCM'})}..{segment(b'iv')}.{segment(b'text')}.dGFn")


async def test_a_token_anywhere_but_in_its_header(targets: Targets) -> None:
    for target in targets:
        for query in ("token", "access_token", "jwt"):
            headers = {"Cookie": f"{query}={target.token}"}
            answer = await target.http.get(UNKNOWN, params={query: target.token}, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")


async def test_authorization_details_that_cannot_be_read(targets: Targets) -> None:
    """They never widen to the whole account."""
    for target in targets:
        half = {"type": "session", "resources": {"models": 1}}
        for details in ["everything", {}, [1], [{"type": "admin"}], [half], None]:
            await refused(target, target.changed(authorization_details=details))


async def test_no_authorization_details_at_all_allow_nothing(targets: Targets) -> None:
    for target in targets:
        headers = {"Authorization": f"Bearer {target.changed(authorization_details=[])}"}
        answer = await target.http.post("/sessions", headers=headers, json={"model": {"name": "echo"}})
        assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")


async def test_refusals_and_logs_keep_secrets(targets: Targets, api_key: str) -> None:
    for target in targets:
        with capture_logs() as entries:
            tokens = (target.token, target.token[:-4], target.token + "x")
            answers = [await look(target.http, token) for token in tokens]
            answers.append(await target.http.post("/tokens", headers={"Reactor-API-Key": api_key + "x"}))
        said = str(entries) + "".join(f"{answer.text}{answer.headers}" for answer in answers)
        for secret in (target.token, target.key, api_key, target.token.split(".")[1], target.token.split(".")[2][:20]):
            assert secret not in said


def _tests_of(folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    define: Callable[[str], list[str]] = re.compile(r"^(?:async )?def (test_\w+)", re.MULTILINE).findall
    for path in folder.rglob("test_*.py"):
        found |= dict.fromkeys(define(path.read_text()), path.name)
    return found


def test_the_security_page_names_tests_that_are_there() -> None:
    page = (ROOT / "docs/security.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", page))
    assert len(named) > 40
    assert named <= _tests_of(ROOT / "tests").keys()
    here = {name for name, file in _tests_of(Path(__file__).parent).items() if file == Path(__file__).name}
    about_the_page = {"test_what_is_attacked_is_good_as_it_is", "test_the_security_page_names_tests_that_are_there"}
    assert here - about_the_page <= named, "an attack that is tested and not on the page"
