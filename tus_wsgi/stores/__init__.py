"""Where uploads live: each store implements `tus_wsgi.ports.Store`."""
