"""What stands in a site's secret store, as resources."""
