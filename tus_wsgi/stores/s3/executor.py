"""Threads for S3 calls that run in the context of their request."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


class ContextExecutor(ThreadPoolExecutor):
    """A pool of threads. A task sees the context variables of the caller that has submitted it.

    So a trace contains the parts that a request sends, whichever thread sends them.
    """

    def submit(
        self,
        fn: Callable[_Parameters, _Result],
        /,
        *args: _Parameters.args,
        **kwargs: _Parameters.kwargs,
    ) -> Future[_Result]:
        """Run `fn` in a thread, with a copy of the caller's context."""
        return super().submit(copy_context().run, partial(fn, *args, **kwargs))
