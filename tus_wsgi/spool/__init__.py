"""Where bytes wait on their way to the store: in memory within a budget, then on disk."""
