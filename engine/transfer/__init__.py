"""One job as a file: out of a database, and into another."""
