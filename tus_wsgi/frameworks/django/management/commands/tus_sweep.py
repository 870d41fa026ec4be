"""The management command `tus_sweep`."""

from __future__ import annotations

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tus_wsgi.frameworks.django import read_config
from tus_wsgi.frameworks.sweep import DEFAULT_MIN_AGE, sweep


class Command(BaseCommand):  # type: ignore[misc]
    """Run a sweep with the settings and hooks of the project."""

    help = "Finish full uploads, and remove expired ones."

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the options."""
        parser.add_argument(
            "--dry-run", action="store_true", help="Print the actions without taking them."
        )
        parser.add_argument(
            "--min-age",
            default=DEFAULT_MIN_AGE,
            help="Minimum age of orphaned multipart uploads and tails. Default: %(default)s.",
        )

        parser.add_argument(
            "--read-all", action="store_true", help="Also read records that look finished."
        )

    def handle(
        self, *_: object, dry_run: bool, min_age: str, read_all: bool, **_options: object
    ) -> None:
        """Run the command."""
        config = read_config()
        on_finish = config.options.get("on_finish")
        on_terminate = config.options.get("on_terminate")
        try:
            code = sweep(
                config.settings,
                on_finish,
                on_terminate,
                is_dry=dry_run,
                min_age=min_age,
                reads_all=read_all,
            )
        except ValueError as error:
            raise CommandError(str(error), returncode=2) from error
        if code:
            raise CommandError("An action failed.", returncode=code)
