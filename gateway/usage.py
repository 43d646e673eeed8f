"""What the asker's account has used."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from gateway.auth import PrincipalDep, check_account
from gateway.deps import ClusterDep
from gateway.errors import InvalidRequest
from gateway.openapi import BY_TOKEN, refusals
from gateway.versions import check_versions
from wire.usage import Usage

MAX_DAYS = 92

router = APIRouter(tags=["usage"], dependencies=[Depends(check_versions)], responses=refusals(*BY_TOKEN))

_DAY = {"pattern": r"^\d{4}-\d{2}-\d{2}$", "json_schema_extra": {"format": "date"}}


@router.get("/usage")
async def get_usage(
    principal: PrincipalDep,
    cluster: ClusterDep,
    first: Annotated[str, Query(alias="from", description="First day, in UTC.", **_DAY)],
    last: Annotated[str, Query(alias="to", description=f"Last day; at most {MAX_DAYS} days in all.", **_DAY)],
) -> Usage:
    """What the account has used, by day in UTC and model; days without use are left out."""
    check_account(principal, "usage")
    begin, end = _day("from", first), _day("to", last)
    if begin > end:
        raise InvalidRequest("from is later than to")
    if (end - begin).days >= MAX_DAYS:
        raise InvalidRequest(f"from and to are more than {MAX_DAYS} days")
    return Usage(first=begin, last=end, days=await cluster.usage(principal.tenant, begin, end))


def _day(name: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(f"{name} is no day of the calendar") from None
