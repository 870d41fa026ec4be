"""Clients that others wrote, each behind one function, and the scripts that Node needs."""
