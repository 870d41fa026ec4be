"""Observers of events, one for each module."""
