"""Size of a socket's send queue in the kernel."""

import socket
import struct

try:
    import fcntl
    import termios
except ImportError:  # Windows

    def unsent_bytes(connection: socket.socket) -> int:  # noqa: ARG001
        """Return 0: this operating system does not report it."""
        return 0

else:

    def unsent_bytes(connection: socket.socket) -> int:
        """Return how many bytes the peer has not acknowledged; 0 if the operating system does not report it."""
        try:
            result = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
        except (OSError, AttributeError):
            return 0
        (size,) = struct.unpack("i", result)
        return int(size)
