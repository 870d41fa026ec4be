"""The command `script/example`, also `python -m examples`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from demo.runner import Program, run

HINT = "Log in with any name and password. The first login with a name creates the user."


def program_of(name: str) -> Program:
    """Return what the runner needs to serve an example."""
    return Program(
        command=f"script/example {name}",
        app=f"examples.{name}:create_app({{uppy!r}}, {{data!r}})",
        hint=HINT,
        data_dir=Path(".demo", name),
    )


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("name", type=click.Choice(["flask", "django", "pyramid"]))
@click.option(
    "--port",
    default=8080,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port of the page. 0 picks a free one.",
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory that keeps the uploads and the database. Default: .demo/NAME.",
)
def main(*, name: str, port: int, data_dir: Path | None) -> None:
    """Serve an example with its own S3 server and database. Press Ctrl-C to stop it."""
    sys.exit(run(program_of(name), port=port, data_dir=data_dir))


if __name__ == "__main__":
    main(prog_name="script/example")
