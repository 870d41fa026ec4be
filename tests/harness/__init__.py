"""What the rings with real servers share: servers, a cutting proxy, a raw HTTP client."""
