"""The statistics that compare two revisions."""
