"""Consent of several people to what cannot be undone."""
