"""Where uploads live: each store implements `tus_wsgi.domain.interfaces.Store`."""
