"""A Flask app."""

from __future__ import annotations

from flask import Flask, request

from tests.live.apps.mounting import mount_twice
from tus_wsgi import TusMiddleware

app = Flask(__name__)


@app.get("/hello")
def hello() -> str:
    return f"hello from {request.script_root}"


@app.post("/echo")
def echo() -> bytes:
    return request.get_data()


@app.get("/files-x")
def own() -> str:
    return "the app's own"


app.wsgi_app = TusMiddleware.from_env(app.wsgi_app)  # type: ignore[method-assign]

application = mount_twice(app)
