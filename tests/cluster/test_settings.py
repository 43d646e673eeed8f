"""The settings tree: where values come from, and what stops start-up."""

from __future__ import annotations

import os

import pytest
from pydantic import ValidationError

from cluster.settings import LimitSettings, PoolSettings, Settings

pytestmark = pytest.mark.fast


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LLC_")]:
        monkeypatch.delenv(name)


def test_defaults_need_no_environment():
    settings = Settings()
    assert settings.cluster == "longlive"
    assert settings.redis_url is None
    assert settings.api_keys == ()
    assert [pool.model for pool in settings.pools] == ["longlive-v2", "echo"]


def test_arguments_before_environment_before_defaults(monkeypatch):
    monkeypatch.setenv("LLC_CLUSTER", "from-environment")
    monkeypatch.setenv("LLC_LOG_LEVEL", "DEBUG")
    settings = Settings(cluster="from-arguments")
    assert (settings.cluster, settings.log_level, settings.metrics_port) == ("from-arguments", "DEBUG", 9400)


def test_a_member_of_a_group_leaves_the_others_at_their_defaults(monkeypatch):
    monkeypatch.setenv("LLC_MEDIA__BITRATE", "2500000")
    settings = Settings()
    assert settings.media.bitrate == 2_500_000
    assert settings.media.min_bitrate == 600_000


def test_media_has_ports_and_public_addresses(monkeypatch):
    assert (Settings().media.port_range, Settings().media.public_addresses) == (None, ())
    monkeypatch.setenv("LLC_MEDIA__PORTS", "40000-40999")
    monkeypatch.setenv("LLC_MEDIA__PUBLIC_ADDRESS", "203.0.113.9/10.0.0.5, 203.0.113.8/10.0.0.6, 2001:db8::9")
    media = Settings().media
    assert media.port_range == range(40_000, 41_000)
    found = [(str(each.public), each.local and str(each.local)) for each in media.public_addresses]
    assert found == [("203.0.113.9", "10.0.0.5"), ("203.0.113.8", "10.0.0.6"), ("2001:db8::9", None)]


def test_a_range_has_a_port_for_each_connection_of_a_worker(monkeypatch):
    monkeypatch.setenv("LLC_MEDIA__PORTS", "40000-40063")
    assert Settings().media.port_range == range(40_000, 40_064)
    with pytest.raises(ValueError, match="2 sessions of"):
        Settings(pools=[{"model": "echo", "sessions_per_worker": 2}])
    fewer = LimitSettings(max_connections=32)
    assert Settings(pools=[{"model": "echo", "sessions_per_worker": 2}], limits=fewer).media.ports == "40000-40063"


def test_keys_are_separated_by_commas(monkeypatch):
    monkeypatch.setenv("LLC_API_KEYS", " rk_one, rk_two,,")
    assert [key.get_secret_value() for key in Settings().api_keys] == ["rk_one", "rk_two"]


def test_pools_are_json(monkeypatch):
    monkeypatch.setenv("LLC_POOLS", '[{"model": "echo", "max_workers": 3}]')
    assert Settings().pools == (PoolSettings(model="echo", max_workers=3),)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LLC_METRICS_PORT", "many", "metrics_port"),
        ("LLC_METRICS_PORT", "70000", "metrics_port"),
        ("LLC_MEDIA__BITRATE", "fast", "bitrate"),
        ("LLC_MEDIA__START_BITRATE", "1", "start_bitrate"),
        ("LLC_LIMITS__MAX_SESSION_S", "0", "max_session_s"),
        ("LLC_POOLS", '[{"model": "echo", "max_workers": 0}]', "max_workers"),
        ("LLC_POOLS", '[{"model": "echo", "gpus": 1}]', "gpus"),
        ("LLC_POOLS", '[{"max_workers": 1}]', "model"),
        ("LLC_POOLS", "[not json", "pools"),
        ("LLC_BITRATE", "1", "no such setting: LLC_BITRATE"),
        ("LLC_MEDIA__PORTS", "40000", r"media\.ports\n.*not a range of ports"),
        ("LLC_MEDIA__PORTS", "40000-4", r"media\.ports\n.*the first port, 40000, is beyond the last one, 4"),
        ("LLC_MEDIA__PORTS", "1000-2000", r"media\.ports\n.*not within 1024-65535"),
        ("LLC_MEDIA__PORTS", "65000-65536", r"media\.ports\n.*not within 1024-65535"),
        ("LLC_MEDIA__PUBLIC_ADDRESS", "live.example.org", r"media\.public_address\n.*names are not looked up"),
        ("LLC_MEDIA__PUBLIC_ADDRESS", "0.0.0.0", r"media\.public_address\n.*no machine's address"),
        ("LLC_MEDIA__PUBLIC_ADDRESS", "203.0.113.9,203.0.113.8", "every IPv4 address has more than one"),
        ("LLC_MEDIA__PUBLIC_ADDRESS", "203.0.113.9/10.0.0.5,203.0.113.8/10.0.0.5", "10.0.0.5 has more than one"),
        ("LLC_MEDIA__PUBLIC_ADDRESS", "203.0.113.9/fd00::5", "an IPv4 and an IPv6 address"),
    ],
)
def test_an_unknown_or_malformed_value_stops_start_up_and_is_named(monkeypatch, name, value, said):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=said):  # pydantic's errors are ValueErrors
        Settings()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LLC_POOLS", '[{"model": "echo", "min_warm": 3, "max_workers": 2}]', "min_warm is 3, and max_workers 2"),
        ("LLC_POOLS", '[{"model": "echo"}, {"model": "echo", "num_gpus": 1}]', "more than one pool of echo"),
        ("LLC_MEDIA__BITRATE", "500000", "min_bitrate is 600000, and bitrate 500000"),
        ("LLC_MEDIA__PORTS", "40000-40062", "LLC_MEDIA__PORTS has 63 ports, and .* of LLC_LIMITS__MAX_CONNECTIONS, 64"),
        ("LLC_LIMITS__SNAPSHOT_TTL_S", "7200", "snapshot_ttl_s is 7200, and record_ttl_s 3600"),
        ("LLC_STORAGE__S3_ENDPOINT", "https://s3.example.org", "there is none"),
    ],
)
def test_settings_that_contradict_each_other_stop_start_up(monkeypatch, name, value, said):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=said):
        Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LLC_REDIS_URL", ""),
        ("LLC_JWT_SECRET", ""),
        ("LLC_AUTH__SIGNING_KEY", ""),
        ("LLC_AUTH__RETIRED_SECRETS", '[""]'),
        ("LLC_TURN__SECRET", ""),
        ("LLC_MODERATION__WEBHOOK_SECRET", ""),
    ],
)
def test_a_secret_without_a_value_stops_start_up_and_is_named(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=name.removeprefix("LLC_").lower().replace("__", r"\.")):
        Settings()


def test_arguments_are_checked_the_same():
    with pytest.raises(ValidationError, match="no_such"):
        Settings(no_such=1)
    with pytest.raises(ValidationError, match="max_quue"):
        LimitSettings(max_quue=1)


def test_secrets_do_not_show(monkeypatch):
    monkeypatch.setenv("LLC_API_KEYS", "rk_hidden")
    monkeypatch.setenv("LLC_JWT_SECRET", "jwt_hidden_and_long_enough_to_sign")
    monkeypatch.setenv("LLC_TURN__SECRET", "turn_hidden_and_long_enough_to_be_one")
    settings = Settings()
    assert settings.turn.secret.get_secret_value() == "turn_hidden_and_long_enough_to_be_one"
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert "hidden" not in shown


def test_settings_do_not_change():
    with pytest.raises(ValidationError):
        Settings().cluster = "other"
