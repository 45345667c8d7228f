"""The kinds `qhs:data:*`."""
