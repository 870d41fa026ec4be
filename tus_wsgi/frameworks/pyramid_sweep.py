"""The sweep of a Pyramid app: `python -m tus_wsgi.frameworks.pyramid_sweep production.ini`.

It does what `tus-wsgi sweep` does, with the settings and hooks of the app. Each hook runs with a
request of Pyramid that no client has sent.
"""

from __future__ import annotations

from typing import Unpack

import click
from pyramid.config import global_registries
from pyramid.paster import get_app, setup_logging

from tus_wsgi.frameworks.config import Config
from tus_wsgi.frameworks.sweep import SweepOptions, run_command, sweep_options


@click.command()
@click.argument("ini")
@sweep_options
def main(ini: str, **options: Unpack[SweepOptions]) -> None:
    """Finish full uploads, and remove expired ones.

    INI is the file of the app, such as production.ini, or production.ini#name.
    """
    setup_logging(ini)
    get_app(ini)
    late = (global_registries.last or {}).get("tus")
    if late is None:
        raise click.ClickException(f"{ini}: the app does not include tus_wsgi.frameworks.pyramid")
    config: Config = late.config
    hooks = config.options
    run_command(config.settings, hooks.get("on_finish"), hooks.get("on_terminate"), **options)


if __name__ == "__main__":
    main(prog_name="python -m tus_wsgi.frameworks.pyramid_sweep")
