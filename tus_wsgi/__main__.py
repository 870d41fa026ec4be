"""Run the command `tus-wsgi` as `python -m tus_wsgi`."""

from tus_wsgi.cli import main

if __name__ == "__main__":
    main(prog_name="tus-wsgi")
