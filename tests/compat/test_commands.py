"""`tus-wsgi check` and `tus-wsgi sweep` on each S3 service."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.compat.sandbox import PART, Shop, append, finish, new_id
from tests.harness.data import some_bytes
from tus_wsgi.cli import main
from tus_wsgi.domain.model import UploadInfo
from tus_wsgi.stores.s3.upload import S3Upload

pytestmark = pytest.mark.compat

HONEST = "SeaweedFS"
"""The only one of the three that honours conditions on writes."""

PAST = datetime.now(UTC) - timedelta(days=1)


@pytest.fixture
def run(shop: Shop, tmp_path: Path) -> Callable[..., dict[str, str]]:
    def run(
        *arguments: str, code: int = 0, as_owner: bool = False, **changes: str
    ) -> dict[str, str]:
        """What the command says of each name."""
        environ = {
            **shop.service.environ(as_owner=as_owner),
            "TUS_S3_OBJECT_PREFIX": shop.keys.object_prefix,
            "TUS_LOCK_DIR": str(tmp_path / "locks"),
            **changes,
        }
        ran = CliRunner().invoke(main, [*arguments, "--json"], env=environ)
        assert ran.exit_code == code, ran.output
        found = json.loads(ran.stdout)
        if isinstance(found, dict):
            return {one["name"]: one["deed"] for one in found["deeds"]}
        return {one["check"]: f"{one['verdict']} {one['detail']}" for one in found}

    return run


def lapsed(shop: Shop, length: int) -> S3Upload:
    return shop.store().create(UploadInfo(new_id(), length, expires=PAST), record_now=True)


def test_a_bucket_of_each_service_is_found_good(
    shop: Shop, run: Callable[..., dict[str, str]]
) -> None:
    said = run("check")
    assert {words.split()[0] for words in said.values()} == {"ok"}
    assert ("not honoured" in said["conditional writes"]) == (shop.service.name != HONEST)
    assert shop.list_keys() == shop.list_multiparts() == []


def test_locks_in_the_bucket_are_refused_where_conditions_do_not_hold(
    shop: Shop, run: Callable[..., dict[str, str]]
) -> None:
    if shop.service.name == HONEST:
        assert run("check", TUS_LOCKER="s3")["locker"] == "ok s3"
    else:
        assert "s3 cannot be used here" in run("check", code=1, TUS_LOCKER="s3")["locker"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"TUS_S3_BUCKET": "nowhere"}, "there is no bucket 'nowhere'"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "check AWS_SECRET_ACCESS_KEY"),
        # Swift says the same of both keys.
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "access key"),
    ],
)
def test_mistakes_are_explained_on_each_service(
    run: Callable[..., dict[str, str]], changes: dict[str, str], words: str
) -> None:
    # Whoever may do nothing in a bucket is not told that there is none.
    assert words in run("check", code=1, as_owner=True, **changes)["one-part upload"]


def test_a_sweep_finds_what_nobody_goes_on_with_and_leaves_all_else(
    shop: Shop, run: Callable[..., dict[str, str]]
) -> None:
    content = some_bytes(PART + 10)
    going_on, over, done, full = (
        shop.create(PART + 10),
        lapsed(shop, PART + 10),
        shop.create(5),
        shop.create(PART + 10),
    )
    append(going_on, content[: PART + 5])
    append(over, content[:5])
    append(done, b"12345")
    finish(done)
    append(full, content)
    stray = shop.keys.data(new_id())
    shop.client.create_multipart_upload(Bucket=shop.service.bucket, Key=stray)
    said = {over.info.id: "expired", full.info.id: "finished"}
    # It lists, which the server of the uploads may not.
    sweep = functools.partial(run, "sweep", "--no-hook", as_owner=True)
    if shop.service.admin is not None:
        assert run("sweep", "--no-hook", code=1) == {"listing": "failed"}
    assert sweep("--dry-run") == said
    assert sweep() == said
    assert sweep("--min-age", "0") == {stray: "aborted"}
    assert sweep("--min-age", "0") == {}
    ids = [going_on.info.id, done.info.id, full.info.id]
    assert set(shop.list_keys()) == {
        *(f"{id}.info" for id in ids),
        f"{going_on.info.id}.part",
        done.info.id,
        full.info.id,
    }
    assert shop.stored(full) == content
    again = shop.reopen(going_on)
    assert again.info.offset == PART + 5
    append(again, content[PART + 5 :])
    finish(again)
    assert shop.stored(going_on) == content
