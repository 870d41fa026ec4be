"""The login of the session."""

from __future__ import annotations

from pyramid.authentication import SessionAuthenticationHelper


class SessionPolicy:
    """Identify users by their session."""

    def __init__(self):
        self._helper = SessionAuthenticationHelper()

    def authenticated_userid(self, request):
        """Return the id of the user as text; None for an anonymous client."""
        return self._helper.authenticated_userid(request)

    identity = authenticated_userid

    def permits(self, request, _context, _permission):
        """Let users that are logged in do everything."""
        return self.authenticated_userid(request) is not None

    def remember(self, request, user, **_):
        """Log in."""
        return self._helper.remember(request, user)

    def forget(self, request, **_):
        """Log out."""
        return self._helper.forget(request)
