"""What a token may do (`authorization_details`). Pure: sessions and tokens in, limits, a role or `Forbidden` out.

Ownership is the account's, not the single token's: clients refresh their token in the middle of a session, so
"sessions it created" means sessions of the same API key on the scope's models, and `max_sessions` counts those that
are open.
"""

from __future__ import annotations

from dataclasses import dataclass

from cluster.client import Allowance
from gateway.errors import Forbidden, ForbiddenRole
from wire.http import AuthorizationDetail, Role, Session, model_slug


@dataclass(frozen=True, slots=True)
class Scope:
    """The scope of one token; without details it is the whole account."""

    details: tuple[AuthorizationDetail, ...] | None = None

    def allowances(self, model: str) -> tuple[Allowance, ...]:
        """What the token allows of a new session on `model`, the first that has room to be used.

        Raises `Forbidden` if no detail of the scope lets a session be opened, `ForbiddenRole` if all are a viewer's.
        """
        if self.details is None:
            return (Allowance(),)
        if found := tuple(_allowance(detail) for detail in self.details if _may_create(detail, model)):
            return found
        if self.details and not any(_directs(detail) for detail in self.details):
            raise ForbiddenRole("a viewer's token opens no session")
        raise Forbidden("the token does not allow opening this session")

    def role_in(self, session: Session) -> Role:
        """The strongest role that a detail gives in the session. Raises `Forbidden` if none covers it."""
        if self.details is None:
            return Role.DIRECTOR
        covering = [detail for detail in self.details if _covers(detail, session)]
        if not covering:
            raise Forbidden("the token does not cover this session")
        return Role.DIRECTOR if any(_directs(detail) for detail in covering) else Role.VIEWER

    @property
    def account_role(self) -> Role | None:
        """The role in every session of the account, for which none needs to be looked up; None if it depends on it."""
        if self.details is None:
            return Role.DIRECTOR
        everywhere = [detail for detail in self.details if detail.resources.models.all and not _bound_only(detail)]
        if any(_directs(detail) for detail in everywhere):
            return Role.DIRECTOR
        return Role.VIEWER if everywhere and not any(_directs(detail) for detail in self.details) else None


def _may_create(detail: AuthorizationDetail, model: str) -> bool:
    return _directs(detail) and _covers_model(detail, model) and not _bound_only(detail)


def _allowance(detail: AuthorizationDetail) -> Allowance:
    models = detail.resources.models
    slugs = None if models.all else frozenset(model_slug(name) for name in models.match or ())
    longest = detail.constraints.max_session_duration_seconds if detail.constraints else None
    return Allowance(longest, _max_sessions(detail), slugs)


def _covers(detail: AuthorizationDetail, session: Session) -> bool:
    if not _covers_model(detail, session.model.name):
        return False
    bound = detail.resources.sessions
    return bound is None or not _bound_only(detail) or session.session_id in bound.bind


def _covers_model(detail: AuthorizationDetail, model: str) -> bool:
    models = detail.resources.models
    return bool(models.all) or model_slug(model) in {model_slug(name) for name in models.match or ()}


def _bound_only(detail: AuthorizationDetail) -> bool:
    """`sessions.bind` is for the listed sessions alone and opens none, but for a director with `max_sessions`."""
    opens = _directs(detail) and _max_sessions(detail) is not None
    return detail.resources.sessions is not None and not opens


def _directs(detail: AuthorizationDetail) -> bool:
    return detail.role is Role.DIRECTOR


def _max_sessions(detail: AuthorizationDetail) -> int | None:
    return detail.constraints.max_sessions if detail.constraints else None
