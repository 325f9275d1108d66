"""The one database: SQLite or PostgreSQL."""
