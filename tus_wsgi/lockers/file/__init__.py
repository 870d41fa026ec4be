"""Locks for all processes of one host, held by the kernel."""
