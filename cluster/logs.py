"""Structured logs: one JSON object a line on stderr, with the ids that are bound. Never prompts, tokens or keys."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator

import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

QUOTING = (ValueError, LookupError, TypeError, AttributeError)
"""Texts of such errors often quote the value that was wrong, which may be what a client has written."""
OURS = ("cli", "cluster", "gateway", "longlive", "models", "wan", "wire")
"""Packages whose errors say nothing that a client must not read."""


def configure(level: str, **ids: str) -> None:
    """Set up structlog and the standard library's root logger for this process; every line carries `ids`."""

    def add_ids(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        return {**ids, **event}

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        add_ids,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(told),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.PositionalArgumentsFormatter(), structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.JSONRenderer()],
    )
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def told(exc_info: ExcInfo) -> str:
    """A failure and what led to it, each with its stack; without the texts that may quote a client."""
    parts = [f"{''.join(traceback.format_tb(error.__traceback__))}{_named(error)}" for error in _chain(exc_info[1])]
    return "\n\nled to:\n".join(reversed(parts))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _named(error: BaseException) -> str:
    kind = type(error)
    quotes = isinstance(error, QUOTING) and kind.__module__.partition(".")[0] not in OURS
    return kind.__qualname__ if quotes else f"{kind.__qualname__}: {error}"
