"""Contexts around the hooks of an application."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import pytest

from tus_wsgi.domain.dispatch import EventDispatcher
from tus_wsgi.domain.events import Event, HookCalled
from tus_wsgi.domain.hook_set import NO_HOOKS, Hooks
from tus_wsgi.service.wrapped_hooks import measure_hooks, wrap_hooks

NAMES = [field.name for field in fields(Hooks) if getattr(NO_HOOKS, field.name) is None]


@pytest.mark.parametrize("name", NAMES)
def test_each_hook_runs_in_a_context_with_its_name(name: str) -> None:
    log: list[str] = []

    @contextmanager
    def new_context(hook: str) -> Iterator[None]:
        log.append(f"enter {hook}")
        yield
        log.append("leave")

    def hook(argument: object) -> str:
        log.append(f"call with {argument}")
        return "the result"

    given: dict[str, Any] = {name: hook}
    wrapped = getattr(wrap_hooks(Hooks(**given), new_context), name)
    assert wrapped("an argument") == "the result"
    assert log == [f"enter {name}", "call with an argument", "leave"]


def test_hooks_that_are_missing_stay_missing() -> None:
    @contextmanager
    def new_context(_hook: str) -> Iterator[None]:
        yield

    assert wrap_hooks(NO_HOOKS, new_context) == NO_HOOKS


def test_without_an_observer_the_hooks_are_not_wrapped() -> None:
    events: list[Event] = []
    hooks = Hooks(on_finish=lambda _: None)
    assert measure_hooks(hooks, EventDispatcher([events.append])) is hooks


def test_an_exception_is_measured_and_raised() -> None:
    class Recorder:
        handles = frozenset({HookCalled})

        def __init__(self) -> None:
            self.events: list[Event] = []

        def __call__(self, event: Event, /) -> None:
            self.events.append(event)

    def fail(_: object) -> None:
        raise KeyError("x")

    recorder = Recorder()
    hooks = measure_hooks(Hooks(on_terminate=fail), EventDispatcher([recorder]))
    assert hooks.on_terminate is not None
    with pytest.raises(KeyError):
        hooks.on_terminate(None)  # type: ignore[arg-type]
    (event,) = recorder.events
    assert isinstance(event, HookCalled)
    assert (event.hook, event.error) == ("on_terminate", "KeyError")
