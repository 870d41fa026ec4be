"""The Django app that has the management command."""

from django.apps import AppConfig


class TusConfig(AppConfig):  # type: ignore[misc]
    """Gives the app a label of its own: the last part of its name is `django`."""

    name = "tus_wsgi.frameworks.django"
    label = "tus"
