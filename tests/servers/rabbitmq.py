"""A RabbitMQ broker. Debian's package: rabbitmq-server."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from servers.common import free_port
from servers.processes import Program, listening, wait_until

__all__ = ["BINARIES", "RabbitMQ"]

# Not the one in /usr/sbin, which is for the system's own broker only.
BINARIES = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "/usr/lib/rabbitmq/bin/rabbitmqctl", "epmd")
_BROKER, _CONTROL, _NAMES = BINARIES


class RabbitMQ:
    """A RabbitMQ broker with the user ``guest``; as a context manager it stops at the end.

    It has a name service (epmd) of its own, which the system's would outlive the test otherwise.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="retrywrap-rabbitmq-")
        self._home = Path(self._folder.name)
        self._node = f"retrywrap{self.port}@localhost"
        self._names_port = free_port()
        self._names: Program | None = None
        self._program: Program | None = None

    def _environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_"))}
        return own | {
            "HOME": str(self._home),  # where Erlang keeps its cookie
            "ERL_EPMD_PORT": str(self._names_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(self._home / "data"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONF_ENV_FILE": str(self._home / "none.conf"),
            "RABBITMQ_CONFIG_FILE": str(self._home / "none"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self._home / "none.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._home / "plugins"),
            "RABBITMQ_PID_FILE": str(self._home / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false",
        }

    def start(self) -> None:
        """Start it, on the port and with the data that it had before; return when it answers."""
        env = self._environment()
        if self._names is None:
            (self._home / "plugins").write_text("[].\n")
            place = ["-port", str(self._names_port), "-address", "127.0.0.1"]
            self._names = Program([_NAMES, *place], self._home / "names.log", env)
            wait_until(lambda: listening(self._names_port), _NAMES, self._names)
        self._program = Program([_BROKER], self._home / "log", env)
        wait_until(lambda: listening(self.port), _BROKER, self._program)

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self._program is not None
        self._program.kill()

    def close_connections(self) -> None:
        """Have it close every connection, as before it is shut down."""
        command = [_CONTROL, "-n", self._node, "close_all_connections", "maintenance"]
        subprocess.run(command, env=self._environment(), check=True, capture_output=True, timeout=60)

    def __enter__(self) -> RabbitMQ:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        for program in (self._program, self._names):
            if program is not None:
                program.stop()
        self._folder.cleanup()
