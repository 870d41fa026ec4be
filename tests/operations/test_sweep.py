"""What a sweep removes, and above all what it does not."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from demo.seaweedfs import SeaweedFS
from tests.harness.bodies import ScriptedBody
from tests.harness.policies import denying
from tests.harness.stores import PART, S3Sandbox
from tus_wsgi.cli import main
from tus_wsgi.domain.dispatch import EventDispatcher
from tus_wsgi.domain.hooks import FinishedUpload
from tus_wsgi.domain.interfaces import Lock
from tus_wsgi.domain.model import TIB, Final, Partial, UploadId, UploadInfo
from tus_wsgi.domain.parts import PartPlan
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.operations.listing import Listing
from tus_wsgi.operations.sweep import ActionKind, Sweep, SweepPolicy, SweepResult
from tus_wsgi.service.finish import Finisher
from tus_wsgi.stores.s3.bucket import Bucket
from tus_wsgi.stores.s3.record import UploadRecord, encode
from tus_wsgi.stores.s3.upload import S3Upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DAY = 86_400.0
PAST = datetime(2020, 1, 1, tzinfo=UTC)
FUTURE = datetime(2100, 1, 1, tzinfo=UTC)
LONGER = PART + 10


def held() -> None:
    """The lock is ours."""


class Told:
    """A locker that says which locks were asked for, and lets things happen meanwhile."""

    def __init__(self) -> None:
        self._locker = MemoryLocker(timeout=0.2)
        self.asked: list[UploadId] = []
        self.meanwhile: Callable[[], None] = lambda: None

    @contextmanager
    def lock(self, id: UploadId, *, on_release_request: Callable[[], None]) -> Iterator[Lock]:
        self.asked.append(id)
        self.meanwhile()
        with self._locker.lock(id, on_release_request=on_release_request) as lock:
            yield lock

    def last_holder(self, id: UploadId) -> Hashable | None:
        return self._locker.last_holder(id)


@dataclass(frozen=True)
class Yard:
    """A place to sweep.

    Attributes:
        sandbox: where the uploads are.
        locker: of servers and sweeps alike.
    """

    sandbox: S3Sandbox
    locker: Told

    def begin(
        self, length: int | None, *, stored: int = 0, expires: datetime | None = None
    ) -> S3Upload:
        """An upload of which some bytes are stored."""
        id = UploadId(secrets.token_urlsafe(16))
        upload = self.sandbox.store().create(
            UploadInfo(id, length, expires=expires), record_now=True
        )
        if stored:
            upload.append(ScriptedBody(bytes(stored)), held)
        return upload

    def finished(self, length: int, *, expires: datetime | None = None) -> S3Upload:
        upload = self.begin(length, stored=length, expires=expires)
        upload.assemble(held)
        upload.finish(held, may_defer=False)
        return upload

    def sweep(
        self,
        *,
        min_age: float = 0.0,
        finisher: Finisher | None = None,
        is_dry: bool = False,
        now: datetime | None = None,
        client: S3Client | None = None,
        page: int = 1000,
    ) -> list[SweepResult]:
        sandbox = self.sandbox
        sweep = Sweep(
            sandbox.store(),
            self.locker,
            Bucket(client or sandbox.client, sandbox.bucket),
            keys=sandbox.keys,
            listing=Listing(sandbox.admin, sandbox.bucket, page=page),
            policy=SweepPolicy(
                # The server's instants are in whole seconds.
                now=now or datetime.now(UTC) + timedelta(seconds=2),
                min_age=min_age,
                finisher=finisher,
                max_size=TIB,
                is_dry=is_dry,
            ),
        )
        return sorted(sweep.run(), key=lambda action: action.name)

    def deeds(self, **how: bool | float) -> dict[str, ActionKind]:
        return {action.name: action.kind for action in self.sweep(**how)}  # type: ignore[arg-type]

    def open(self, upload: S3Upload) -> UploadInfo:
        again = self.sandbox.store().open(upload.info.id)
        again.load_offset()
        return again.info

    def everything(self) -> object:
        """Whatever is there, so that it shows if anything is different afterwards."""
        listed = self.sandbox.admin.list_objects_v2(
            Bucket=self.sandbox.bucket, Prefix=self.sandbox.prefix
        )
        objects = {(one["Key"], one["ETag"]) for one in listed.get("Contents", [])}
        return objects, sorted(self.sandbox.list_multiparts())

    def stray(self, name: str | None = None) -> tuple[str, str]:
        """A multipart upload that no info names: its key, and its UploadId."""
        key = self.sandbox.prefix + (name or secrets.token_urlsafe(16))
        begun = self.sandbox.admin.create_multipart_upload(Bucket=self.sandbox.bucket, Key=key)
        return key, begun["UploadId"]


@pytest.fixture
def yard(sandbox: S3Sandbox) -> Yard:
    return Yard(sandbox, Told())


# -- what has lapsed ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "stored"),
    [(LONGER, 0), (LONGER, 5), (LONGER, PART), (2 * LONGER, LONGER), (5, 0), (5, 3), (None, 3)],
)
def test_of_a_lapsed_upload_nothing_is_left(yard: Yard, length: int | None, stored: int) -> None:
    upload = yard.begin(length, stored=stored, expires=PAST)
    assert yard.deeds() == {upload.info.id: ActionKind.EXPIRED}
    assert yard.sandbox.list_keys() == yard.sandbox.list_multiparts() == []
    assert yard.deeds() == {}


@pytest.mark.parametrize("expires", [None, FUTURE])
@pytest.mark.parametrize(("length", "stored"), [(LONGER, PART + 5), (5, 3), (None, 3), (5, 0)])
def test_an_upload_that_goes_on_is_not_even_locked(
    yard: Yard, expires: datetime | None, length: int | None, stored: int
) -> None:
    yard.begin(length, stored=stored, expires=expires)
    before = yard.everything()
    assert yard.deeds() == {}
    assert yard.everything() == before
    assert yard.locker.asked == []


@pytest.mark.parametrize("length", [0, 5, LONGER])
def test_a_finished_object_is_never_touched(yard: Yard, length: int) -> None:
    yard.finished(length, expires=PAST)
    before = yard.everything()
    assert yard.deeds() == {}
    assert yard.everything() == before


def test_an_upload_that_a_client_prolongs_meanwhile_stays(yard: Yard) -> None:
    upload = yard.begin(LONGER, stored=5, expires=PAST)
    yard.locker.meanwhile = lambda: (
        yard.sandbox.store().open(upload.info.id).extend_expiry(FUTURE, held)
    )
    assert yard.deeds() == {}
    assert yard.open(upload).offset == 5


def test_an_upload_that_a_client_removes_meanwhile_is_nobodys_trouble(yard: Yard) -> None:
    upload = yard.begin(5, stored=3, expires=PAST)
    yard.locker.meanwhile = lambda: yard.sandbox.store().open(upload.info.id).terminate(held)
    assert yard.deeds() == {}


def test_an_upload_in_use_is_left_for_the_next_sweep(yard: Yard) -> None:
    upload = yard.begin(LONGER, stored=5, expires=PAST)
    before = yard.everything()
    with yard.locker.lock(upload.info.id, on_release_request=lambda: None):
        assert set(yard.deeds().values()) == {ActionKind.IN_USE}
    assert yard.everything() == before
    assert yard.deeds() == {upload.info.id: ActionKind.EXPIRED}


def test_an_upload_whose_parts_are_gone_stays_until_it_lapses(yard: Yard) -> None:
    """Until then its client is told that it is gone."""
    upload = yard.begin(LONGER, stored=PART, expires=FUTURE)
    (multipart,) = yard.sandbox.list_multiparts()
    yard.sandbox.admin.abort_multipart_upload(
        Bucket=yard.sandbox.bucket, Key=yard.sandbox.keys.data(upload.info.id), UploadId=multipart
    )
    assert yard.deeds() == {}
    assert [action.kind for action in yard.sweep(now=FUTURE)] == [ActionKind.EXPIRED]
    assert yard.sandbox.list_keys() == []


def test_a_file_whose_name_somebody_chose_outlives_a_lapsed_upload_to_it(yard: Yard) -> None:
    """tusd lets applications choose the key, and an earlier file may have it already."""
    sandbox = yard.sandbox
    sandbox.put(sandbox.prefix + "report.pdf", b"last year's")
    key, multipart = yard.stray("report.pdf")
    id = UploadId(secrets.token_urlsafe(16))
    info = UploadInfo(id, LONGER, expires=PAST)
    record = UploadRecord(info, sandbox.bucket, key, multipart, PartPlan(PART))
    sandbox.put(sandbox.keys.info(id), encode(record))
    assert yard.deeds() == {id: ActionKind.EXPIRED}
    assert sandbox.list_keys() == ["report.pdf"]
    assert sandbox.list_multiparts() == []


# -- what is full ---------------------------------------------------------------------------------


def full(yard: Yard) -> S3Upload:
    """An upload whose last request stored everything and then lost its process."""
    return yard.begin(LONGER, stored=LONGER)


def test_a_full_upload_becomes_an_object_and_the_server_is_left_to_tell_the_application(
    yard: Yard,
) -> None:
    upload = full(yard)
    assert yard.deeds() == {upload.info.id: ActionKind.FINISHED}
    assert yard.sandbox.data(upload.info.id) == bytes(LONGER)
    assert yard.sandbox.list_multiparts() == []
    assert yard.open(upload).is_full
    assert not yard.open(upload).is_finished
    assert yard.deeds() == {}


def test_without_a_hook_a_full_upload_is_finished_for_good(yard: Yard) -> None:
    upload = full(yard)
    actions = yard.sweep(finisher=Finisher(None, EventDispatcher(())))
    assert [(action.kind, action.detail) for action in actions] == [
        (ActionKind.FINISHED, f"{LONGER} bytes")
    ]
    assert yard.open(upload).is_finished
    assert yard.sandbox.data(upload.info.id) == bytes(LONGER)


@pytest.mark.parametrize("expires", [None, PAST])
def test_that_an_object_was_whole_already_is_news_for_nobody(
    yard: Yard, expires: datetime | None
) -> None:
    """Its last request left it to whoever looks next to write that down."""
    info = UploadInfo(UploadId(secrets.token_urlsafe(16)), 3, expires=expires)
    upload = yard.sandbox.store().create(info, record_now=True)
    upload.append(ScriptedBody(b"abc"), held)
    upload.assemble(held)
    upload.finish(held, may_defer=True)
    assert yard.sweep() == []
    assert not yard.open(upload).is_finished
    assert yard.sweep(finisher=Finisher(None, EventDispatcher(()))) == []
    assert yard.open(upload).is_finished
    assert yard.sandbox.data(info.id) == b"abc"


def test_the_hook_runs_once_and_when_it_raises_again(yard: Yard) -> None:
    upload = full(yard)
    dispatched: list[FinishedUpload] = []

    def hook(finished: FinishedUpload) -> None:
        dispatched.append(finished)
        if len(dispatched) == 1:
            raise RuntimeError("not yet")

    finisher = Finisher(hook, EventDispatcher(()))
    assert [action.kind for action in yard.sweep(finisher=finisher)] == [ActionKind.FAILED]
    assert not yard.open(upload).is_finished
    assert [action.kind for action in yard.sweep(finisher=finisher)] == [ActionKind.FINISHED]
    assert yard.sweep(finisher=finisher) == []
    assert [one.id for one in dispatched] == [upload.info.id] * 2
    assert dispatched[0].storage["Key"] == yard.sandbox.keys.data(upload.info.id)


def test_a_full_upload_never_lapses(yard: Yard) -> None:
    upload = yard.begin(LONGER, stored=LONGER, expires=PAST)
    assert yard.deeds() == {upload.info.id: ActionKind.FINISHED}
    assert yard.deeds() == {}
    assert yard.sandbox.data(upload.info.id) == bytes(LONGER)


# -- what no info names ---------------------------------------------------------------------------


def test_a_multipart_upload_that_nobody_knows_of_is_aborted(yard: Yard) -> None:
    key, stray = yard.stray()
    yard.begin(LONGER, stored=PART)
    (live,) = set(yard.sandbox.list_multiparts()) - {stray}
    assert yard.deeds() == {key: ActionKind.ABORTED}
    assert yard.sandbox.list_multiparts() == [live]


def test_a_young_one_may_be_a_creation_on_its_way(yard: Yard) -> None:
    yard.stray()
    before = yard.everything()
    assert yard.deeds(min_age=DAY) == {}
    assert yard.everything() == before
    assert [one.kind for one in yard.sweep(min_age=DAY, now=FUTURE)] == [ActionKind.ABORTED]


@pytest.mark.parametrize(
    "name",
    [
        "report.pdf",
        "0123456789abcdef0123456789abcdef",
        "deeper/Q1Hf2sVtT0m3bYwXyZ_-09",
        "Q1Hf.info",
    ],
)
def test_multipart_uploads_of_other_names_are_somebody_elses(yard: Yard, name: str) -> None:
    yard.stray(name)
    before = yard.everything()
    assert yard.deeds() == {}
    assert yard.everything() == before


def test_a_second_multipart_upload_of_one_that_goes_on_is_aborted(yard: Yard) -> None:
    upload = yard.begin(LONGER, stored=PART)
    _, second = yard.stray(upload.info.id)
    assert yard.deeds() == {yard.sandbox.keys.data(upload.info.id): ActionKind.ABORTED}
    assert second not in yard.sandbox.list_multiparts()
    assert yard.open(upload).offset == PART


def test_one_that_may_be_the_named_one_by_another_name_stays(yard: Yard) -> None:
    """The one that the record names is not listed: perhaps the service spells it differently."""
    sandbox = yard.sandbox
    upload = yard.begin(LONGER)
    (named,) = sandbox.list_multiparts()
    yard.stray(upload.info.id)
    key = sandbox.keys.data(upload.info.id)
    sandbox.admin.abort_multipart_upload(Bucket=sandbox.bucket, Key=key, UploadId=named)
    before = yard.everything()
    assert yard.deeds() == {}
    assert yard.everything() == before


def test_one_beside_a_finished_upload_is_aborted_and_the_object_stays(yard: Yard) -> None:
    upload = yard.finished(LONGER)
    yard.stray(upload.info.id)
    assert yard.deeds() == {yard.sandbox.keys.data(upload.info.id): ActionKind.ABORTED}
    assert yard.sandbox.data(upload.info.id) == bytes(LONGER)


def test_a_tail_that_was_written_too_late_is_removed(yard: Yard) -> None:
    ours = secrets.token_urlsafe(16)
    yard.sandbox.put(f"{yard.sandbox.prefix}{ours}.part", b"late", Metadata={"start": "10"})
    assert yard.deeds(min_age=DAY) == {}
    assert yard.deeds() == {f"{yard.sandbox.prefix}{ours}.part": ActionKind.REMOVED}
    assert yard.sandbox.list_keys() == []


def test_the_tail_of_a_finished_upload_is_removed(yard: Yard) -> None:
    upload = yard.finished(LONGER)
    key = yard.sandbox.keys.tail(upload.info.id)
    yard.sandbox.put(key, b"late", Metadata={"start": str(PART)})
    assert yard.deeds() == {key: ActionKind.REMOVED}
    assert yard.sandbox.data(upload.info.id) == bytes(LONGER)


LAPSED = (
    b'{"ID":"Q1Hf2sVtT0m3bYwXyZ_-09","Size":5,"PartPlan":[5,0,0,0,0],'
    b'"Expires":"2020-01-01T00:00:00+00:00"}'
)

OTHERS = {
    "a part of somebody else's": ("Q1Hf2sVtT0m3bYwXyZ_-09.part", b"part"),
    "a part of tusd's": ("0123456789abcdef0123456789abcdef.part", b"part"),
    "a file": ("Q1Hf2sVtT0m3bYwXyZ_-09", b"the only copy"),
    "no JSON": ("Q1Hf2sVtT0m3bYwXyZ_-09.info", b"<html>"),
    "no object": ("Q1Hf2sVtT0m3bYwXyZ_-09.info", b"[]"),
    "an upload's record somewhere else": ("copy.info", LAPSED),
    "no upload's name": (
        "a b.info",
        b'{"ID":"a b","Size":5,"PartPlan":[5,0,0,0,0],"Expires":"2020-01-01T00:00:00+00:00"}',
    ),
    "an upload of tusd's": (
        "0123456789abcdef0123456789abcdef.info",
        b'{"ID":"0123456789abcdef0123456789abcdef+x~y","Size":5,"Storage":{"Key":"gone"}}',
    ),
    "a lapsed upload below": ("deeper/Q1Hf2sVtT0m3bYwXyZ_-09.info", LAPSED),
}


@pytest.mark.parametrize(("name", "content"), OTHERS.values(), ids=OTHERS)
def test_what_is_somebody_elses_stays(yard: Yard, name: str, content: bytes) -> None:
    yard.sandbox.put(yard.sandbox.prefix + name, content)
    before = yard.everything()
    assert yard.deeds() == {}
    assert yard.everything() == before


# -- how it goes about it -------------------------------------------------------------------------


def test_a_dry_run_says_it_all_and_does_nothing(yard: Yard) -> None:
    lapsed = yard.begin(LONGER, stored=PART + 5, expires=PAST)
    done = full(yard)
    stray, _ = yard.stray()
    tail = f"{yard.sandbox.prefix}{secrets.token_urlsafe(16)}.part"
    yard.sandbox.put(tail, b"late", Metadata={"start": "10"})
    before = yard.everything()
    said = {
        lapsed.info.id: ActionKind.EXPIRED,
        done.info.id: ActionKind.FINISHED,
        stray: ActionKind.ABORTED,
        tail: ActionKind.REMOVED,
    }
    assert yard.deeds(is_dry=True) == said
    assert yard.everything() == before
    assert yard.locker.asked == []
    assert yard.deeds() == said
    assert yard.deeds() == {}


def test_a_final_upload_without_its_partials_stays_until_it_lapses(yard: Yard) -> None:
    """Its client is told until then that it cannot be made any more."""
    id = UploadId(secrets.token_urlsafe(16))
    final = UploadInfo(id, None, expires=FUTURE, concat=Final((UploadId("gone"),)))
    yard.sandbox.store().create(final, record_now=True)
    assert yard.deeds() == {}
    assert [action.kind for action in yard.sweep(now=FUTURE)] == [ActionKind.EXPIRED]
    assert yard.sandbox.list_keys() == []


def test_a_final_upload_is_made_when_its_last_partial_is_there(yard: Yard) -> None:
    store = yard.sandbox.store()
    ids = [UploadId(secrets.token_urlsafe(16)) for _ in range(2)]
    for id in ids:
        partial = store.create(UploadInfo(id, 3, concat=Partial()), record_now=True)
        partial.append(ScriptedBody(b"abc"), held)
        partial.assemble(held)
        partial.finish(held, may_defer=False)
    final = UploadId(secrets.token_urlsafe(16))
    store.create(UploadInfo(final, None, concat=Final((*ids,))), record_now=True)
    finisher = Finisher(None, EventDispatcher(()), discard=store.discard)
    assert [action.name for action in yard.sweep(finisher=finisher)] == [final]
    assert yard.sandbox.data(final) == b"abcabc"
    assert yard.sandbox.list_keys() == [final, f"{final}.info"]


def test_every_page_of_the_listing_is_swept(yard: Yard) -> None:
    ids = {yard.begin(5, stored=2, expires=PAST).info.id for _ in range(5)}
    assert {action.name for action in yard.sweep(page=2)} == ids
    assert yard.sandbox.list_keys() == []


def test_a_failure_of_one_upload_is_not_the_others(yard: Yard, s3: SeaweedFS) -> None:
    first = yard.begin(LONGER, stored=5, expires=PAST)
    second = yard.begin(5, stored=2, expires=PAST)
    with denying(s3, "s3:AbortMultipartUpload", yard.sandbox.prefix):
        deeds = yard.deeds()
    assert deeds[second.info.id] is ActionKind.EXPIRED
    assert ActionKind.FAILED in deeds.values()
    assert yard.sandbox.list_keys()
    assert yard.deeds() == {first.info.id: ActionKind.EXPIRED}
    assert yard.sandbox.list_keys() == yard.sandbox.list_multiparts() == []


def test_an_info_that_may_not_be_read_is_not_taken_for_absent(yard: Yard, s3: SeaweedFS) -> None:
    """After a first success a 403 usually means absence. Here a listing has the last word."""
    client = s3.client(s3.least_privilege)
    yard.begin(LONGER, stored=PART)
    yard.sandbox.put("readable", b"")
    client.get_object(Bucket=s3.bucket, Key="readable")
    before = yard.everything()
    with denying(s3, "s3:GetObject", yard.sandbox.prefix):
        sweep_bucket = Bucket(client, s3.bucket)
        sweep_bucket.get("readable")
        assert sweep_bucket.absence_is_hidden
        sweep = Sweep(
            yard.sandbox.store(),
            yard.locker,
            sweep_bucket,
            keys=yard.sandbox.keys,
            listing=Listing(yard.sandbox.admin, s3.bucket),
            policy=SweepPolicy(now=FUTURE, min_age=0, finisher=None, max_size=TIB, is_dry=False),
        )
        deeds = [action.kind for action in sweep.run()]
    yard.sandbox.delete("readable")
    assert deeds == [ActionKind.FAILED]
    assert yard.everything() == before


# -- the command ----------------------------------------------------------------------------------


@pytest.fixture
def run(s3: SeaweedFS, sandbox: S3Sandbox, tmp_path: Path) -> Callable[..., Result]:
    def run(*arguments: str, **environ: str) -> Result:
        given = {
            **s3.environ(s3.admin),
            "TUS_S3_OBJECT_PREFIX": sandbox.prefix,
            "TUS_LOCK_DIR": str(tmp_path / "locks"),
            **environ,
        }
        return CliRunner().invoke(main, ["sweep", *arguments], env=given)

    return run


def test_the_command_says_what_it_did(yard: Yard, run: Callable[..., Result]) -> None:
    upload = yard.begin(5, stored=2, expires=PAST)
    wet = f"expired   {upload.info.id}: at 2020-01-01 00:00"
    dry = run("--dry-run")
    assert dry.stdout.splitlines() == [wet, "1 looked at, 1 expired (dry run)"]
    assert run().stdout.splitlines() == [wet, "1 looked at, 1 expired"]
    again = run("--json")
    assert json.loads(again.stdout) == {"dry_run": False, "examined": 0, "deeds": []}
    assert dry.exit_code == again.exit_code == 0


def test_the_command_finds_the_hook(
    yard: Yard, run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = full(yard)
    name = f"hook_{secrets.token_hex(4)}"
    (tmp_path / f"{name}.py").write_text(
        "def done(finished):\n    print('hooked', finished.id, finished.length)\n"
    )
    monkeypatch.chdir(tmp_path)
    ran = run("--on-finish", f"{name}:done")
    assert ran.exit_code == 0
    assert f"hooked {upload.info.id} {LONGER}" in ran.stdout
    assert yard.open(upload).is_finished


def test_a_server_without_a_hook_can_say_so(yard: Yard, run: Callable[..., Result]) -> None:
    upload = full(yard)
    assert run("--no-hook").exit_code == 0
    assert yard.open(upload).is_finished


def test_the_permissions_of_a_server_are_not_enough_and_the_missing_ones_are_named(
    s3: SeaweedFS, run: Callable[..., Result]
) -> None:
    ran = run(**s3.environ())
    assert ran.exit_code == 1
    assert "s3:ListBucket is not allowed: allow it on arn:aws:s3:::uploads " in ran.stdout
    assert "s3:ListBucketMultipartUploads is not allowed" in ran.stdout
    report = json.loads(run("--json", **s3.environ()).stdout)
    assert [deed["deed"] for deed in report["deeds"]] == ["failed", "failed"]


@pytest.mark.parametrize(
    ("arguments", "environ", "words"),
    [
        ([], {"TUS_LOCKER": "memory"}, "memory is for one process"),
        ([], {"TUS_S3_BUCKET": ""}, "TUS_S3_BUCKET"),
        (["--min-age", "old"], {}, "expected a duration"),
        (["--on-finish", "nowhere:done"], {}, "expected module:function"),
        (["--on-finish", "json:nothing"], {}, "expected module:function"),
        (["--on-finish", "json"], {}, "expected module:function"),
        (["--on-finish", "json:dumps", "--no-hook"], {}, "--on-finish and --no-hook"),
    ],
)
def test_what_cannot_begin_exits_with_2(
    run: Callable[..., Result], arguments: list[str], environ: dict[str, str], words: str
) -> None:
    ran = run(*arguments, **environ)
    assert ran.exit_code == 2
    assert words in ran.stderr
