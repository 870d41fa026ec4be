"""The commands for operators: check a deployment, and sweep a bucket."""
