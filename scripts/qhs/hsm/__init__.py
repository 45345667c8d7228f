"""The HSMs of a running estate."""
