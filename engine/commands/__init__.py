"""Commands: what people ask of jobs and queues, carried out on an open database."""
