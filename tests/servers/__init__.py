"""Real servers for tests: each starts on a free loopback port with temporary data, and is stopped in the end."""
