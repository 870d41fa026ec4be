"""Black-box conformance tests for servers of tus 1.0.0 and of IETF resumable uploads.

The suite speaks HTTP to a URL and needs only pytest:

    tus-conformance http://127.0.0.1:8000/files

    cli.py             the command
    options.py         the options of a run
    conftest.py        pytest's hooks and the fixtures
    selection.py       which tests apply to this server
    rules.py           the rules by id, and the decorator that links a test to them
    deviations.py      known deviations of a server
    report.py          reports in JSON and Markdown
    wire.py            a minimal HTTP/1.1 client over sockets
    server.py          a tus client
    rufh.py            a client of IETF resumable uploads
    invalid_values.py  values that the tests send where a number is expected
    test_*.py          the tests, by subject
"""
