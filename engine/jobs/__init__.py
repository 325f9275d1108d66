"""A job as data: its status, its budget, what its run was given."""
