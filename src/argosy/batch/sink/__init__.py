"""Writing the output of a job."""
