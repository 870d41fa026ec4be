"""The command `tus-wsgi`."""

from __future__ import annotations

import os
import sys

import click
from botocore.exceptions import BotoCoreError, ClientError

from tus_wsgi import __version__
from tus_wsgi.lockers.lease.dynamodb import create_table
from tus_wsgi.operations import check as checks
from tus_wsgi.operations import sweep_command
from tus_wsgi.operations.tusd_flags import translate
from tus_wsgi.settings import Settings, SettingsError
from tus_wsgi.settings.table import markdown, plain_text, table


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="tus-wsgi %(version)s")
def main() -> None:
    """Resumable uploads (tus 1.0.0) into S3, as WSGI middleware.

    Environment variables configure everything: `tus-wsgi settings` lists them.
    """


@main.command("settings")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the README's table instead.")
def show_settings(*, as_markdown: bool) -> None:
    """List the settings and their values in this environment.

    Exits with 2 and lists all mistakes if the environment is invalid.
    """
    if as_markdown:
        click.echo(markdown(table()), nl=False)
        return
    try:
        settings = Settings.from_environ(os.environ)
    except SettingsError as error:
        # Print the table first, for users who have not set anything yet.
        click.echo(plain_text(table()))
        sys.stdout.flush()
        click.echo(f"\n{error}", err=True)
        sys.exit(2)
    click.echo(plain_text(table(settings)))


# `-host` is a flag of tusd, and not `-h` with a value.
_TUSD_FLAGS = {"ignore_unknown_options": True, "help_option_names": ["--help"]}


@main.command("from-tusd", context_settings=_TUSD_FLAGS)
@click.argument("flags", nargs=-1, type=click.UNPROCESSED)
def from_tusd(*, flags: tuple[str, ...]) -> None:
    """Print the settings for the FLAGS of a tusd server.

    A line for each flag that needs a thought is a comment. docs/moving-from-tusd.md says more.
    """
    try:
        for line in translate(flags):
            click.echo(line)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


@main.command("create-lock-table")
@click.option(
    "--table",
    envvar="TUS_LOCK_TABLE",
    required=True,
    help="Name of the table. Default: the value of TUS_LOCK_TABLE.",
)
def create_lock_table(*, table: str) -> None:
    """Create the DynamoDB table for TUS_LOCKER=dynamodb, once for all hosts.

    The table is billed per request. boto3 supplies the credentials and the region.
    """
    try:
        is_new = create_table(table)
    except (BotoCoreError, ClientError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"The table {table} is ready." if is_new else f"The table {table} already exists.")


@main.command()
@click.option("--json", "is_json", is_flag=True, help="Print the results as a JSON list.")
def check(*, is_json: bool) -> None:
    """Check that a server with these settings can work.

    The command writes a few small objects under the prefixes of uploads and removes them again.
    Exits with 1 if a check fails.
    """
    results = checks.run_checks(os.environ)
    lines = checks.format_lines(results)
    click.echo(checks.format_json(results) if is_json else "\n".join(lines))
    sys.exit(0 if checks.all_passed(results) else 1)


@main.command()
@click.option("--dry-run", "is_dry", is_flag=True, help="Print the actions without taking them.")
@click.option(
    "--min-age",
    default="1d",
    show_default=True,
    help="Minimum age of orphaned multipart uploads and tails.",
)
@click.option("--on-finish", metavar="MODULE:FUNCTION", help="The application's hook.")
@click.option("--on-terminate", metavar="MODULE:FUNCTION", help="The same, for removed uploads.")
@click.option("--no-hook", is_flag=True, help="The application has no hook.")
@click.option(
    "--abort-unknown",
    is_flag=True,
    help="Abort old multipart uploads without a record. Use only if nothing else uses the prefix.",
)
@click.option(
    "--read-all",
    "reads_all",
    is_flag=True,
    help="Also read the records of uploads that look finished.",
)
@click.option("--json", "is_json", is_flag=True, help="Print a report as JSON.")
def sweep(
    *,
    is_dry: bool,
    min_age: str,
    on_finish: str | None,
    on_terminate: str | None,
    no_hook: bool,
    abort_unknown: bool,
    reads_all: bool,
    is_json: bool,
) -> None:
    """Finish full uploads, and remove expired ones.

    The command also removes orphaned tails, and orphaned multipart uploads whose key has a record.
    It reports multipart uploads whose key has no record.
    Without --on-finish or --no-hook, it only assembles the objects of full uploads, and the server
    finishes each of these uploads at the next request for the upload. The credentials also need
    s3:ListBucket and s3:ListBucketMultipartUploads. Exits with 1 if an action fails.
    """
    exit_code = sweep_command.run(
        is_dry=is_dry,
        min_age=min_age,
        on_finish=on_finish,
        on_terminate=on_terminate,
        server_has_hook=not no_hook,
        abort_unknown=abort_unknown,
        reads_all=reads_all,
        is_json=is_json,
    )
    sys.exit(exit_code)
