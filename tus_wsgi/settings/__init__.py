"""Settings, read from environment variables.

    from tus_wsgi.settings import Settings

    settings = Settings.from_environ(os.environ)

`settings` defines and validates them, `values` parses and builds their values, and `table` prints
them.
"""

from tus_wsgi.settings.settings import Settings, SettingsError

__all__ = ["Settings", "SettingsError"]
