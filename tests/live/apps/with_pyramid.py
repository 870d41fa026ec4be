"""A Pyramid app."""

from __future__ import annotations

from pyramid.config import Configurator
from pyramid.request import Request
from pyramid.response import Response

from tests.live.apps.mounting import mount_twice
from tus_wsgi import TusMiddleware


def hello(request: Request) -> Response:
    return Response(f"hello from {request.script_name}")


def echo(request: Request) -> Response:
    return Response(request.body)


def own(request: Request) -> Response:
    return Response("the app's own")


with Configurator() as config:
    for path, view in (("/hello", hello), ("/echo", echo), ("/files-x", own)):
        config.add_route(path, path)
        config.add_view(view, route_name=path)

application = mount_twice(TusMiddleware.from_env(config.make_wsgi_app()))
