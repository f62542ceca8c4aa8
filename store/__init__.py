"""PostgreSQL: the schema, every SQL statement, and the bundled server."""
