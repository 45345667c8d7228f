"""What stands in a site's object store, and who may come in, as resources."""
