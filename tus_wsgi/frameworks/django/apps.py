"""The Django app that has the management command."""

from django.apps import AppConfig


class TusConfig(AppConfig):  # type: ignore[misc]
    """Gives the app the label `tus`. The default, the last part of the name, would be `django`."""

    name = "tus_wsgi.frameworks.django"
    label = "tus"
