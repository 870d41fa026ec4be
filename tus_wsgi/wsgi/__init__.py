"""The roof: where a WSGI server meets the two wings."""
