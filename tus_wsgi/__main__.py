"""`python -m tus_wsgi` is `tus-wsgi`."""

from tus_wsgi.cli import main

if __name__ == "__main__":
    main(prog_name="tus-wsgi")
