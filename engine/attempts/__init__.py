"""One attempt of a job: how its graph runs, what it may use, what it tells, and how it ends."""
