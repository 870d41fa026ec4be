"""The demo: an upload page, gunicorn and an S3 server, started with one command.

`script/demo` runs it from a clone. It is not part of the wheel, and nothing in `tus_wsgi` imports
it. The tests and the benchmarks start their servers with the same modules.
"""
