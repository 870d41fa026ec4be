"""What the demo's tests run: the demo itself, a browser, and a network that breaks."""
