"""Run the hooks of an application within contexts, for metrics and traces."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import TypeVar

from tus_wsgi.domain.answer import Rejected
from tus_wsgi.domain.dispatch import EventDispatcher
from tus_wsgi.domain.errors import Denied
from tus_wsgi.domain.events import HookCalled
from tus_wsgi.domain.hook_set import Hooks

_Argument = TypeVar("_Argument")
_Result = TypeVar("_Result")

NewContext = Callable[[str], AbstractContextManager[object]]
"""Returns the context of a call, given the name of the hook."""


def wrap_hooks(hooks: Hooks, new_context: NewContext) -> Hooks:
    """Return hooks that enter a context for each call. A hook that is missing stays missing."""

    def wrapped(
        name: str, hook: Callable[[_Argument], _Result] | None
    ) -> Callable[[_Argument], _Result] | None:
        if hook is None:
            return None

        @functools.wraps(hook)
        def call(argument: _Argument) -> _Result:
            with new_context(name):
                return hook(argument)

        return call

    return replace(
        hooks,
        authorize=wrapped("authorize", hooks.authorize),
        on_create=wrapped("on_create", hooks.on_create),
        on_created=wrapped("on_created", hooks.on_created),
        on_progress=wrapped("on_progress", hooks.on_progress),
        on_finish=wrapped("on_finish", hooks.on_finish),
        before_terminate=wrapped("before_terminate", hooks.before_terminate),
        on_terminate=wrapped("on_terminate", hooks.on_terminate),
    )


def measure_hooks(hooks: Hooks, events: EventDispatcher) -> Hooks:
    """Return hooks that report each call, if an observer wants to know."""
    return wrap_hooks(hooks, _Meter(events).measure) if events.wants(HookCalled) else hooks


class _Meter:
    def __init__(self, events: EventDispatcher) -> None:
        self._events = events

    @contextmanager
    def measure(self, hook: str) -> Iterator[None]:
        started = time.monotonic()
        error: str | None = None
        try:
            yield
        except (Denied, Rejected):
            raise
        except Exception as failure:
            error = type(failure).__name__
            raise
        finally:
            self._events.dispatch(HookCalled(hook, time.monotonic() - started, error))
