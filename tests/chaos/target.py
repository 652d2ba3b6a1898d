"""A small program with one port, whose health is checked.

    python -I -S target.py ADDRESS PORT

Answers each request with 200. SIGUSR1 switches between that and 503. Prints a line when it listens, and after each switch.
Imports nothing that takes long, because many are started.
"""

import signal
import socket
import sys

# Longer than the number of connections that a check makes to a frozen process, so that the kernel goes on accepting them.
BACKLOG = 4096
LONGEST_WAIT = 5
STATUSES = [b"200 OK", b"503 Service Unavailable"]

status = 0


def switch(*_):
    global status
    status = 1 - status
    print("switched", flush=True)


def main():
    signal.signal(signal.SIGUSR1, switch)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # Connections of the process before it may be in TIME_WAIT.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((sys.argv[1], int(sys.argv[2])))
    listener.listen(BACKLOG)
    print("listens", flush=True)
    while True:
        connection, _ = listener.accept()
        connection.settimeout(LONGEST_WAIT)
        try:
            if connection.recv(4096):
                connection.sendall(b"HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % STATUSES[status])
        except OSError:
            pass  # the client has gone
        connection.close()


main()
