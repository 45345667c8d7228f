"""Asking a site's signing service, as an application does."""
