"""Real servers for tests: each on a free loopback port, with temporary data, and stopped when its test ends."""
