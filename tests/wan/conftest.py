"""Torch on one thread, in all tests of the room."""

from tests.support.threads import one_thread

__all__ = ["one_thread"]
