"""The pages: login, the files of the user, delete."""

from __future__ import annotations

from django.contrib.auth import authenticate, login, logout
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_POST

from tus_wsgi.frameworks import django as tus

from . import uploads
from .models import File, used_bytes


@login_required
@ensure_csrf_cookie
def files(request):
    """Show the files of the user."""
    rows = File.objects.filter(user=request.user)
    facts = {"files": rows, "used": used_bytes(request.user.pk), "quota": uploads.QUOTA}
    return render(request, "files.html", facts)


def log_in(request):
    """Log in. The first login with a name creates the user; `admin` may use the admin."""
    if request.method != "POST":
        return render(request, "login.html")
    name, password = request.POST["name"], request.POST["password"]
    if not User.objects.filter(username=name).exists():
        is_admin = name == "admin"
        flags = {"is_staff": is_admin, "is_superuser": is_admin}
        User.objects.create_user(name, password=password, **flags)
    user = authenticate(request, username=name, password=password)
    if user is None:
        raise PermissionDenied("The password is wrong.")
    login(request, user)
    return redirect("/")


@require_POST
def log_out(request):
    """Log out."""
    logout(request)
    return redirect("/login")


@require_POST
@login_required
def delete(request, id):
    """Delete a file of the user. The hook `on_terminate` deletes its row."""
    file = get_object_or_404(File, id=id, user=request.user)
    tus.middleware().terminate_upload(file.id)
    return redirect("/")
