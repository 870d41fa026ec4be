"""A black-box test suite for servers of tus 1.0.0 (https://tus.io/protocols/resumable-upload).

It speaks HTTP to a URL, imports nothing of any server, and needs only pytest:

    pytest tests/conformance --tus-url=http://127.0.0.1:8000/files

The folder is a package of its own with its own `pytest.ini`, and may be copied anywhere.

    wire.py        HTTP/1.1 by hand, over sockets
    server.py      the server under test: what it offers, and uploads on it
    rules.py       every rule by its id, and the decorator that names the ids that a test proves
    options.py     the command line
    selection.py   which tests apply to this server
    deviations.py  where a server is known to differ, and why
    report.py      what came out: JSON, and a table in Markdown
    rufh.py        a client of the IETF's resumable uploads
    test_*.py      the rules, by subject
"""
