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
        ("LLC_LIMITS__SNAPSHOT_TTL_S", "7200", "snapshot_ttl_s is 7200, and record_ttl_s 3600"),
        ("LLC_STORAGE__S3_ENDPOINT", "https://s3.example.org", "there is none"),
    ],
)
def test_settings_that_contradict_each_other_stop_start_up(monkeypatch, name, value, said):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=said):
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
