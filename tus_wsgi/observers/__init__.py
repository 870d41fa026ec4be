"""Observers: who is told what happened. One a file."""
