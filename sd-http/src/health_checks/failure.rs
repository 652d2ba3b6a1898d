//! Why a check failed.

use std::{fmt, io};

use serde::{Serialize, Serializer};

/// Why a check failed. Displays as the reports and the log have it, such as `refused` or `status_503`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Failure {
    /// `refused`: the target refuses connections.
    Refused,
    /// `timeout_connect`: the connection, with TLS for HTTPS, was not there in time.
    ConnectTimeout,
    /// `timeout_status`: the head of the response was not there in time.
    StatusTimeout,
    /// `status_NNN`: the response has this status, which is not 200–399.
    Status(u16),
    /// `tls`: the TLS handshake failed. Certificates are not validated.
    Tls,
    /// `malformed`: what the target sent is not the head of an HTTP/1 response, or is longer than 64 KiB.
    Malformed,
    /// `closed`: the target closed the connection before the end of the head.
    Closed,
    /// `unroutable`: there is no way to the address.
    Unroutable,
    /// `forbidden_address`: the address is link-local or serves a machine's metadata, and was not asked.
    ForbiddenAddress,
}

impl Failure {
    /// The classes, as the counters have them.
    pub(super) const CLASSES: [&str; 9] = [
        "refused",
        "timeout_connect",
        "timeout_status",
        "status",
        "tls",
        "malformed",
        "closed",
        "unroutable",
        "forbidden_address",
    ];

    /// The number of the class.
    pub(super) fn class(self) -> usize {
        match self {
            Self::Refused => 0,
            Self::ConnectTimeout => 1,
            Self::StatusTimeout => 2,
            Self::Status(_) => 3,
            Self::Tls => 4,
            Self::Malformed => 5,
            Self::Closed => 6,
            Self::Unroutable => 7,
            Self::ForbiddenAddress => 8,
        }
    }

    /// Whether the target let the prober wait.
    pub(super) fn is_timeout(self) -> bool {
        matches!(self, Self::ConnectTimeout | Self::StatusTimeout)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::CLASSES[self.class()])?;
        match self {
            Self::Status(status) => write!(f, "_{status:03}"),
            _ => Ok(()),
        }
    }
}

impl Serialize for Failure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What ended a probe: the target, or this machine, which then knows nothing of the target.
#[derive(Debug)]
pub(super) enum Fault {
    Target(Failure),
    Here(io::Error),
}

impl Fault {
    /// The fault of an error of a socket.
    pub(super) fn of(error: io::Error) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::ConnectionRefused => Self::Target(Failure::Refused),
            Kind::TimedOut => Self::Target(Failure::ConnectTimeout),
            Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe | Kind::UnexpectedEof => {
                Self::Target(Failure::Closed)
            }
            Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::InvalidInput
            | Kind::PermissionDenied => Self::Target(Failure::Unroutable),
            // No sockets, no ports, no memory.
            _ => Self::Here(error),
        }
    }
}
