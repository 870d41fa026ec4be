"""The pages: login, the files of the user, delete."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from pyramid.httpexceptions import HTTPForbidden, HTTPFound, HTTPNotFound
from pyramid.response import Response
from pyramid.security import forget, remember
from pyramid.view import view_config
from sqlalchemy import select
from werkzeug.security import check_password_hash, generate_password_hash

from examples.models import File, User, new_session, used_bytes

from . import uploads

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parents[1] / "templates"), autoescape=True
)


def render(name, **facts):
    """Return a page."""
    return Response(TEMPLATES.get_template(name).render(facts))


@view_config(route_name="files", request_method="GET")
def files(request):
    """Show the files of the user."""
    if request.authenticated_userid is None:
        return HTTPFound("/login")
    with new_session() as db:
        user = db.get_one(User, int(request.authenticated_userid))
        rows = db.scalars(select(File).where(File.user_id == user.id).order_by(File.name)).all()
        used = used_bytes(db, user.id)
        return render("files.html", user=user, files=rows, used=used, quota=uploads.QUOTA)


@view_config(route_name="login", request_method="GET")
def login_form(_request):
    """Show the form."""
    return render("login.html")


@view_config(route_name="login", request_method="POST")
def login(request):
    """Log in. The first login with a name creates the user."""
    name, password = request.POST["name"], request.POST["password"]
    with new_session.begin() as db:
        user = db.scalar(select(User).where(User.name == name))
        if user is None:
            user = User(name=name, password=generate_password_hash(password))
            db.add(user)
            db.flush()
        elif not check_password_hash(user.password, password):
            return HTTPForbidden("The password is wrong.")
        return HTTPFound("/", headers=remember(request, str(user.id)))


@view_config(route_name="logout", request_method="POST")
def logout(request):
    """Log out."""
    return HTTPFound("/login", headers=forget(request))


@view_config(route_name="delete", request_method="POST")
def delete(request):
    """Delete a file of the user. The hook `on_terminate` deletes its row."""
    with new_session() as db:
        file = db.get(File, request.matchdict["id"])
    if file is None or str(file.user_id) != request.authenticated_userid:
        return HTTPNotFound()
    request.registry["tus"].middleware.terminate_upload(file.id)
    return HTTPFound("/")
