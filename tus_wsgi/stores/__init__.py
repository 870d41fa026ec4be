"""Stores of uploads. Each implements `tus_wsgi.domain.interfaces.Store`."""
