"""What a token may do (`authorization_details`). Pure: sessions and tokens in, a limit or `Forbidden` out.

Ownership is the account's, not the single token's: clients refresh their token in the middle of a session, so
"sessions it created" means sessions of the same API key on the scope's models, and `max_sessions` counts those that
are open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.errors import Forbidden
from wire.http import AuthorizationDetail, Session, model_slug


@dataclass(frozen=True, slots=True)
class Scope:
    """The scope of one token; without details it is the whole account."""

    details: tuple[AuthorizationDetail, ...] | None = None

    def max_duration_s(self, model: str, open_sessions: Sequence[Session]) -> int | None:
        """The longest session that may be opened on `model` now, None where the token sets no limit.

        Raises `Forbidden` if no detail of the scope lets a session be opened.
        """
        if self.details is None:
            return None
        for detail in self.details:
            if _may_create(detail, model, open_sessions):
                return detail.constraints.max_session_duration_seconds if detail.constraints else None
        raise Forbidden("the token does not allow opening this session")

    def check_operate(self, session: Session) -> None:
        """Raises `Forbidden` unless some detail covers the session."""
        if not self.covers_account and not any(_may_operate(detail, session) for detail in self.details or ()):
            raise Forbidden("the token does not cover this session")

    @property
    def covers_account(self) -> bool:
        """Whether every session of the account may be operated, so that none needs to be looked up."""
        return self.details is None or any(
            detail.resources.models.all and not _bound_only(detail) for detail in self.details
        )

    @property
    def counts_sessions(self) -> bool:
        """Whether the open sessions must be known to decide on a new one."""
        return any(_max_sessions(detail) is not None for detail in self.details or ())


def _may_create(detail: AuthorizationDetail, model: str, open_sessions: Sequence[Session]) -> bool:
    if not _covers_model(detail, model) or _bound_only(detail):
        return False
    limit = _max_sessions(detail)
    return limit is None or sum(_covers_model(detail, session.model.name) for session in open_sessions) < limit


def _may_operate(detail: AuthorizationDetail, session: Session) -> bool:
    if not _covers_model(detail, session.model.name):
        return False
    bound = detail.resources.sessions
    return bound is None or not _bound_only(detail) or session.session_id in bound.bind


def _covers_model(detail: AuthorizationDetail, model: str) -> bool:
    models = detail.resources.models
    return bool(models.all) or model_slug(model) in {model_slug(name) for name in models.match or ()}


def _bound_only(detail: AuthorizationDetail) -> bool:
    """`sessions.bind` without `max_sessions` is for the listed sessions alone and opens none."""
    return detail.resources.sessions is not None and _max_sessions(detail) is None


def _max_sessions(detail: AuthorizationDetail) -> int | None:
    return detail.constraints.max_sessions if detail.constraints else None
