"""The command `tus-wsgi`. Each command imports what it needs when it runs, so `--help` is quick."""

from __future__ import annotations

import os
import sys

import click

from tus_wsgi import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="tus-wsgi %(version)s")
def main() -> None:
    """Resumable uploads (tus 1.0.0) into S3, as WSGI middleware.

    Everything is set by environment variables: `tus-wsgi settings` lists them.
    """


@main.command("settings")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the README's table instead.")
def show_settings(*, as_markdown: bool) -> None:
    """List the settings, with the values that this environment gives them.

    Exits with 2, and says what is wrong, when the environment cannot be used.
    """
    from tus_wsgi.settings import Settings, SettingsError
    from tus_wsgi.settings.table import markdown, plain_text, table

    if as_markdown:
        click.echo(markdown(table()), nl=False)
        return
    try:
        settings = Settings.from_environ(os.environ)
    except SettingsError as error:
        # The table comes first: it is what somebody without a single setting is looking for.
        click.echo(plain_text(table()))
        sys.stdout.flush()
        click.echo(f"\n{error}", err=True)
        sys.exit(2)
    click.echo(plain_text(table(settings)))


@main.command("create-lock-table")
@click.option(
    "--table",
    envvar="TUS_LOCK_TABLE",
    required=True,
    help="The table's name, by default that of TUS_LOCK_TABLE.",
)
def create_lock_table(*, table: str) -> None:
    """Make the DynamoDB table for TUS_LOCKER=dynamodb, once for all hosts.

    It is billed by the request. Credentials and region are those of boto3.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    from tus_wsgi.lockers.lease.dynamodb import create_table

    try:
        made = create_table(table)
    except (BotoCoreError, ClientError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"The table {table} is ready." if made else f"The table {table} was there already.")


@main.command()
@click.option("--json", "is_json", is_flag=True, help="Print a list of findings for a program.")
def check(*, is_json: bool) -> None:
    """Try what a server with these settings would need, and say what is in its way.

    It writes a few small objects under the prefixes of uploads and removes them again. Exits with 1
    if anything fails.
    """
    from tus_wsgi.operations import check as checking

    findings = checking.check(os.environ)
    click.echo(checking.as_json(findings) if is_json else "\n".join(checking.lines(findings)))
    sys.exit(0 if checking.is_well(findings) else 1)


@main.command()
@click.option("--dry-run", "is_dry", is_flag=True, help="Say what would be done, and do nothing.")
@click.option(
    "--min-age",
    default="1d",
    show_default=True,
    help="Age of what no upload knows of, before it is removed.",
)
@click.option("--on-finish", metavar="MODULE:FUNCTION", help="The application's hook.")
@click.option("--no-hook", is_flag=True, help="The application has no hook.")
@click.option("--json", "is_json", is_flag=True, help="Print one report for a program.")
def sweep(
    *, is_dry: bool, min_age: str, on_finish: str | None, no_hook: bool, is_json: bool
) -> None:
    """Finish the uploads that are full, and remove those that have lapsed.

    Multipart uploads that no upload knows of are aborted. Without --on-finish or --no-hook, what is
    full becomes an object, and the server calls it finished when somebody looks next. The
    credentials need s3:ListBucket and s3:ListBucketMultipartUploads as well. Exits with 1 if
    anything fails.
    """
    from tus_wsgi.operations.sweep_command import run

    sys.exit(
        run(
            is_dry=is_dry,
            min_age=min_age,
            on_finish=on_finish,
            has_hook=not no_hook,
            is_json=is_json,
        )
    )
