"""Benchmarks of this project, other tus servers and plain boto3. See docs/performance.md.

    python -m benchmarks --help

None of them is a test with a time limit: the figures depend on the machine and its load. Targets
that are compared are measured alternately in the same run. The benchmarks need Linux, for `/proc`.
"""
