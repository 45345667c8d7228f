"""ComponentResources: one idea a file."""
