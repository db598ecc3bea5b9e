"""How much of what was sent to a client the kernel still holds."""

import socket
import struct

try:
    import fcntl
    import termios
except ImportError:  # Windows

    def unsent_bytes(connection: socket.socket) -> int:  # noqa: ARG001
        """Return 0: this system does not tell."""
        return 0

else:

    def unsent_bytes(connection: socket.socket) -> int:
        """Return how many bytes the peer has not acknowledged, 0 where the system does not tell."""
        try:
            answer = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
        except (OSError, AttributeError):
            return 0
        (size,) = struct.unpack("i", answer)
        return int(size)
