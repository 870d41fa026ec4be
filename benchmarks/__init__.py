"""Benchmarks: this project beside other tus servers and beside boto3. See docs/performance.md.

    python -m benchmarks --help

Nothing here is a timed test: figures depend on the machine and on what else it does. What is
compared is measured in one run, in turn. They need Linux, for `/proc`.
"""
