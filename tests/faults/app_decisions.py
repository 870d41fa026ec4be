"""What the app of the fault tests decides in its hooks, and what its decisions have to look like.

A hook may be called twice for an upload, after a kill or a repeated request. Each call returns a
different answer, and the client checks that it always receives the same one.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tests.faults.scenarios import Scenario
from tests.harness.clients.uploader import ANSWER_FIELD, REJECTED
from tus_wsgi import Answer, FinishedUpload, GoneUpload, NewUpload, Rejected, UploadPlan
from tus_wsgi.domain.hook_set import HookOptions
from tus_wsgi.domain.plan import ObjectOptions

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CACHE_CONTROL = "no-store"
USER_METADATA = {"planned": "yes"}


def plan(upload: NewUpload) -> UploadPlan:
    """Return the plan of an upload, with a key and object options of its own."""
    return UploadPlan(
        key=f"{upload.id}/file",
        private={"note": upload.id},
        object=ObjectOptions(cache_control=CACHE_CONTROL, user_metadata=USER_METADATA),
    )


def decide_finish(scenario: Scenario, upload: FinishedUpload, calls: int) -> Answer | None:
    """Accept or reject a finished upload.

    Args:
        scenario: says what to decide.
        upload: the upload.
        calls: how often the hook was called for the upload, with this call.

    Raises:
        RuntimeError: the hook fails this time, or the plan is not that of `plan`.
        Rejected: the file is rejected.
    """
    if scenario.has_plan and upload.private != {"note": upload.id}:
        raise RuntimeError(f"the private values are {upload.private}")
    if calls <= scenario.hook_failures:
        raise RuntimeError("the app is not ready")
    if scenario.is_rejected:
        raise Rejected(REJECTED)
    if scenario.has_answer:
        return Answer(fields={ANSWER_FIELD: secrets.token_hex(4)}, body=b'{"is": "done"}')
    return None


def decide_terminate(scenario: Scenario, calls: int) -> None:
    """Accept a termination.

    Raises:
        RuntimeError: the hook fails this time.
    """
    if calls <= (scenario.terminate_failures or 0):
        raise RuntimeError("the app is not ready")


def hooks_of(
    scenario: Scenario,
    *,
    on_finish: Callable[[FinishedUpload], Answer | None],
    on_terminate: Callable[[GoneUpload], None],
) -> HookOptions:
    """Return the hooks that the app of a scenario has."""
    hooks: HookOptions = {}
    if scenario.has_hook:
        hooks["on_finish"] = on_finish
    if scenario.terminate_failures is not None:
        hooks["on_terminate"] = on_terminate
    if scenario.has_plan:
        hooks["on_create"] = plan
    return hooks


def wrong_options(s3: S3Client, bucket: str, key: str) -> list[str]:
    """Return what is wrong with the headers of a planned object."""
    facts = s3.head_object(Bucket=bucket, Key=key)
    found: Mapping[str, object] = {
        "cache_control": facts.get("CacheControl"),
        "user_metadata": facts["Metadata"],
    }
    if found == {"cache_control": CACHE_CONTROL, "user_metadata": USER_METADATA}:
        return []
    return [f"the object has {found}"]
