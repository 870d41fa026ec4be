"""Locks for many hosts: a lease in a record that is written conditionally."""
