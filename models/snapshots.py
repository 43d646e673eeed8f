"""Why a snapshot is not taken up."""

from __future__ import annotations

from pydantic import ValidationError


class OtherVersion(ValueError):
    """Another version of the software has written it, or a worker of another preset: there it is good."""


def not_taken_up(error: ValidationError, what: str) -> ValueError:
    """The error for a snapshot whose model has a member `version` and does not fit. It quotes nothing of it: there are
    prompts in it."""
    for each in error.errors(include_url=False):
        if each["loc"] == ("version",) and isinstance(each["input"], int):
            return OtherVersion(f"{what} of version {each['input']}, which is another one")
    return ValueError(f"{what} that cannot be read: {', '.join(sorted({each['type'] for each in error.errors()}))}")
