"""The Pulumi plugin `qhs`: a resource for everything of ours that has an API but no provider."""
