"""The tus resumable upload protocol, version 1.0.0."""
