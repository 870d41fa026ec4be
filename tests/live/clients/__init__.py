"""Third-party upload clients, each behind one function, and the scripts that Node runs."""
