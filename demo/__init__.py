"""What a developer runs and no server needs: a real S3 server from a wheel, and the demo.

Nothing in the package imports this; the command line and the tests do.
"""
