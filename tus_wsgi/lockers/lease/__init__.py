"""Locks across hosts: leases in records that are written conditionally."""
