"""The commands of `ucop`, but for those of jobs."""
