"""Integrations with web frameworks. Each module imports its framework; the package needs none.

A framework's module does three things: it reads the settings from the framework's configuration, it
runs the hooks in the framework's context, and it puts the middleware around the application.
"""
