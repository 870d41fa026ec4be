"""The command `python -m demo`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from demo.runner import run


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535))
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory of the uploads. A second start with it finds them again.",
)
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1))
def main(*, port: int, data_dir: Path | None, workers: int) -> None:
    """Serve a page to drop files on, with an embedded S3 server. Ctrl-C stops everything."""
    sys.exit(run(port=port, data_dir=data_dir, workers=workers))


if __name__ == "__main__":
    main(prog_name="script/demo")
