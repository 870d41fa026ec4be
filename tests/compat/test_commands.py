"""`tus-wsgi check` and `tus-wsgi sweep` on each S3 service."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.compat.sandbox import PART, ServiceSandbox, append, finish, new_id
from tests.harness.data import some_bytes
from tus_wsgi.cli import main
from tus_wsgi.domain.model import UploadInfo
from tus_wsgi.stores.s3.upload import S3Upload

pytestmark = pytest.mark.compat

CONDITIONAL = {"SeaweedFS", "MinIO", "Versity S3 Gateway"}
"""The services that honour conditions on writes."""

HIDES_UPLOADS = {"MinIO"}
"""The services that list multipart uploads only if the prefix is the key of one."""

PAST = datetime.now(UTC) - timedelta(days=1)


@pytest.fixture
def run(sandbox: ServiceSandbox, tmp_path: Path) -> Callable[..., dict[str, str]]:
    def run(
        *arguments: str, code: int = 0, as_owner: bool = False, **changes: str
    ) -> dict[str, str]:
        """Run the command, and return what it reports for each name."""
        environ = {
            **sandbox.service.environ(as_owner=as_owner),
            "TUS_S3_OBJECT_PREFIX": sandbox.keys.object_prefix,
            "TUS_LOCK_DIR": str(tmp_path / "locks"),
            **changes,
        }
        ran = CliRunner().invoke(main, [*arguments, "--json"], env=environ)
        assert ran.exit_code == code, ran.output
        report = json.loads(ran.stdout)
        if isinstance(report, dict):
            return {result["name"]: result["kind"] for result in report["results"]}
        return {result["check"]: f"{result['status']} {result['detail']}" for result in report}

    return run


def create_expired(sandbox: ServiceSandbox, length: int) -> S3Upload:
    return sandbox.store().create(UploadInfo(new_id(), length, expires=PAST), record_now=True)


def test_every_check_passes_on_each_service(
    sandbox: ServiceSandbox, run: Callable[..., dict[str, str]]
) -> None:
    results = run("check")
    assert {result.split()[0] for result in results.values()} == {"ok"}
    assert ("not honoured" in results["conditional writes"]) == (
        sandbox.service.name not in CONDITIONAL
    )
    assert ("not possible" in results["copying parts"]) == (sandbox.service.name == "MinIO")
    assert sandbox.list_keys() == sandbox.list_multiparts() == []


def test_the_s3_locker_requires_conditional_writes(
    sandbox: ServiceSandbox, run: Callable[..., dict[str, str]]
) -> None:
    if sandbox.service.name in CONDITIONAL:
        assert run("check", TUS_LOCKER="s3")["locker"] == "ok s3"
    else:
        assert "s3 cannot be used here" in run("check", code=1, TUS_LOCKER="s3")["locker"]


@pytest.mark.parametrize(
    ("changes", "explanation"),
    [
        ({"TUS_S3_BUCKET": "nowhere"}, "there is no bucket 'nowhere'"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "check AWS_SECRET_ACCESS_KEY"),
        # Swift gives the same response for both keys.
        ({"AWS_ACCESS_KEY_ID": "unknown"}, "access key"),
    ],
)
def test_misconfigurations_are_explained_on_each_service(
    sandbox: ServiceSandbox,
    run: Callable[..., dict[str, str]],
    changes: dict[str, str],
    explanation: str,
) -> None:
    if sandbox.service.name == "Garage" and "TUS_S3_BUCKET" not in changes:
        explanation = "the credentials"  # it refuses a wrong key like a missing permission
    # Without any permission, a service does not reveal that the bucket does not exist.
    assert explanation in run("check", code=1, as_owner=True, **changes)["one-part upload"]


def test_a_sweep_removes_abandoned_uploads_and_leaves_the_others(
    sandbox: ServiceSandbox, run: Callable[..., dict[str, str]]
) -> None:
    content = some_bytes(PART + 10)
    active = sandbox.create(PART + 10)
    expired = create_expired(sandbox, PART + 10)
    finished = sandbox.create(5)
    full = sandbox.create(PART + 10)
    append(active, content[: PART + 5])
    append(expired, content[:5])
    append(finished, b"12345")
    finish(finished)
    append(full, content)
    orphan = sandbox.keys.data(new_id())
    sandbox.client.create_multipart_upload(Bucket=sandbox.service.bucket, Key=orphan)
    expected = {expired.info.id: "expired", full.info.id: "finished"}
    # A sweep lists the bucket, which the credentials of a server must not.
    sweep = functools.partial(run, "sweep", "--no-hook", as_owner=True)
    if sandbox.service.admin is not None:
        assert run("sweep", "--no-hook", code=1) == {"listing": "failed"}
    assert sweep("--dry-run") == expected
    assert sweep() == expected
    orphans = set() if sandbox.service.name in HIDES_UPLOADS else {orphan}
    assert sweep("--min-age", "0") == dict.fromkeys(orphans, "unknown")
    assert sweep("--min-age", "0", "--abort-unknown") == dict.fromkeys(orphans, "aborted")
    assert sweep("--min-age", "0") == {}
    ids = [active.info.id, finished.info.id, full.info.id]
    keys = set(sandbox.list_keys())
    # On services without conditional writes, tails have numbers.
    tails = {key for key in keys if key.startswith(f"{active.info.id}.part")}
    assert tails
    tombstones = {f"{expired.info.id}.info", f"{expired.info.id}.part"}
    assert keys - tails - tombstones == {
        *(f"{id}.info" for id in ids),
        finished.info.id,
        full.info.id,
    }
    assert sandbox.stored(full) == content
    again = sandbox.reopen(active)
    assert again.info.offset == PART + 5
    append(again, content[PART + 5 :])
    finish(again)
    assert sandbox.stored(active) == content
