"""A finished run in the browser: the report's page from memory, and a server behind it that explains photographs which
nobody has seen."""
