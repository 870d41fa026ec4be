"""Remove an upload from S3: the order of the steps of a termination.

- D-08: nothing is removed before the record says so.
- D-10: each step checks the lock first.
- D-13: the record is deleted last; see `tus_wsgi.stores.s3.termination`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from tus_wsgi.domain.errors import UploadGone
from tus_wsgi.domain.interfaces import AssertHeld
from tus_wsgi.domain.model import Final, TerminationReason
from tus_wsgi.stores.s3.completion import CompletionPending
from tus_wsgi.stores.s3.termination import plan_removal, write_tombstone
from tus_wsgi.stores.s3.upload_state import UploadState


def remove_data(state: UploadState, reason: TerminationReason, assert_held: AssertHeld) -> None:
    """Record that the upload is being removed, and then remove parts and object.

    The record keeps what `on_terminate` needs, because the hook has not been called yet.
    `remove_upload` removes the tail.

    Raises:
        LockLost, StoreUnavailable: some objects are left.
    """
    if state.info_object.is_untouched:
        return
    steps = _removal_steps(state)
    if state.record.info.terminating is None:
        info = replace(state.record.info, terminating=reason)
        state.write_record(replace(state.record, info=info), assert_held)
    for step in steps:
        assert_held()
        step()


def remove_upload(state: UploadState, assert_held: AssertHeld) -> None:
    """Replace the record by a tombstone, and then remove everything else.

    Raises:
        LockLost, StoreUnavailable: some objects are left.
    """
    if state.info_object.is_untouched:
        return  # D-13: nothing is written before the record
    if state.record.has_numbered_tails and not state.record.is_terminated:
        with suppress(UploadGone, CompletionPending):
            state.load_offset()  # finds the numbers of the tails
    if state.record.info.is_finished or isinstance(state.record.info.concat, Final):
        state.tail.note_absent()  # finished and final uploads have no tail
    steps = _removal_steps(state)
    if not state.record.is_terminated:
        state.record = write_tombstone(state.info_object, state.record, assert_held)
    for step in (state.tail.write_tombstone, *steps):
        assert_held()
        step()


def _removal_steps(state: UploadState) -> list[Callable[[], None]]:
    record, context = state.record, state.context
    return plan_removal(
        context.bucket,
        record,
        is_own_key=context.keys.is_own(record.key, record.info.id),
        is_complete=lambda: state.is_assembled or state.load_parts(),
    )
