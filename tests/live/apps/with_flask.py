"""A Flask app."""

from __future__ import annotations

from flask import Flask, request

from tests.live.apps.mounting import at_two_places
from tus_wsgi import TusMiddleware

app = Flask(__name__)


@app.get("/hello")
def hello() -> str:
    return f"hello from {request.script_root}"


@app.post("/echo")
def echo() -> bytes:
    return request.get_data()


@app.get("/files-x")
def mine() -> str:
    return "mine"


app.wsgi_app = TusMiddleware.from_env(app.wsgi_app)  # type: ignore[method-assign]

application = at_two_places(app)
