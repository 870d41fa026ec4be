"""The command `script/demo`, also `python -m demo`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from demo.runner import run


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
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
    help="Directory that keeps the uploads, .demo by default. Reuse it to find them again.",
)
@click.option(
    "--workers",
    default=2,
    show_default=True,
    type=click.IntRange(1),
    help="Number of gunicorn workers.",
)
def main(*, port: int, data_dir: Path | None, workers: int) -> None:
    """Serve an upload page with its own S3 server. Press Ctrl-C to stop both."""
    sys.exit(run(port=port, data_dir=data_dir, workers=workers))


if __name__ == "__main__":
    main(prog_name="script/demo")
