"""The pages: login, the files of the user, delete."""

from __future__ import annotations

from flask import Blueprint, abort, redirect, render_template, request, session
from sqlalchemy import select
from werkzeug.security import check_password_hash, generate_password_hash

from examples.models import File, User, new_session, used_bytes

from . import uploads

blueprint = Blueprint("views", __name__)


@blueprint.get("/")
def files():
    """Show the files of the user."""
    if "user" not in session:
        return redirect("/login")
    with new_session() as db:
        user = db.get_one(User, int(session["user"]))
        rows = db.scalars(select(File).where(File.user_id == user.id).order_by(File.name)).all()
        used = used_bytes(db, user.id)
        return render_template("files.html", user=user, files=rows, used=used, quota=uploads.QUOTA)


@blueprint.get("/login")
def login_form():
    """Show the form."""
    return render_template("login.html")


@blueprint.post("/login")
def login():
    """Log in. The first login with a name creates the user."""
    name, password = request.form["name"], request.form["password"]
    with new_session.begin() as db:
        user = db.scalar(select(User).where(User.name == name))
        if user is None:
            user = User(name=name, password=generate_password_hash(password))
            db.add(user)
            db.flush()
        elif not check_password_hash(user.password, password):
            abort(403, "The password is wrong.")
        session["user"] = str(user.id)
    return redirect("/")


@blueprint.post("/logout")
def logout():
    """Log out."""
    session.clear()
    return redirect("/login")


@blueprint.post("/delete/<id>")
def delete(id):
    """Delete a file of the user. The hook `on_terminate` deletes its row."""
    with new_session() as db:
        file = db.get(File, id)
    if file is None or str(file.user_id) != session.get("user"):
        abort(404)
    uploads.tus.middleware.terminate_upload(id)
    return redirect("/")
