"""Names as resources: what stands at a name of a domain that takes updates."""
