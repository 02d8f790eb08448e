"""Real servers for tests: each module has a context manager that starts one with temporary data, and stops it."""
