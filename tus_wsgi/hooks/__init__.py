"""Hooks outside of the process, in the JSON format of tusd.

The hooks of an application are Python functions (`tus_wsgi.domain.hook_set`). Here are functions
that ask an HTTP endpoint, or a route of the wrapped application, in the format of tusd's hooks:

- `tusd_json` makes the documents and interprets the responses. No I/O.
- `remote` is the hooks: each one makes a document, lets a carrier deliver it, and acts on the
  response.
- `http` and `wsgi` are the carriers.
- `queue` delivers documents that nothing waits for.
"""
