//! Addresses to listen on, as flags and variables have them.

use std::{fmt, net::SocketAddr, str::FromStr};

/// `HOST:PORT`, or `:PORT` for `localhost:PORT`. The host is a name, an IPv4 address, or an IPv6 address in
/// brackets. Port 0 is any free port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listen {
    /// 127.0.0.1, and ::1 if this machine has it.
    Localhost(u16),
    Address(SocketAddr),
    /// The first address of the name that this machine has.
    Name(String, u16),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidListen {
    #[error("no port in {0:?}: expected HOST:PORT or :PORT")]
    NoPort(String),
    #[error("invalid port {0:?}: expected 1-65535, or 0 for any free port")]
    Port(String),
    #[error("invalid host {0:?}: expected a name or an IP address, IPv6 in brackets as in [::1]:53")]
    Host(String),
}

impl Listen {
    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Localhost(port) | Self::Name(_, port) => *port,
            Self::Address(address) => address.port(),
        }
    }

    /// The address of a server with this setting that listens on these addresses: the first of them if the system chose the
    /// port, otherwise the setting itself.
    pub(crate) fn bound(&self, addresses: &[SocketAddr]) -> Self {
        match addresses.first() {
            Some(first) if self.port() == 0 => Self::Address(*first),
            _ => self.clone(),
        }
    }
}

impl FromStr for Listen {
    type Err = InvalidListen;

    fn from_str(text: &str) -> Result<Self, InvalidListen> {
        let (host, port_text) =
            text.rsplit_once(':').ok_or_else(|| InvalidListen::NoPort(text.to_owned()))?;
        // The last colon is within brackets, so there is no port; or the brackets are missing.
        if host.starts_with('[') && !host.ends_with(']') {
            return Err(InvalidListen::NoPort(text.to_owned()));
        }
        if !host.starts_with('[') && host.contains(':') {
            return Err(InvalidListen::Host(host.to_owned()));
        }
        let is_number = port_text.bytes().all(|octet| octet.is_ascii_digit());
        let port = port_text.parse().ok().filter(|_| is_number);
        let port: u16 = port.ok_or_else(|| InvalidListen::Port(port_text.to_owned()))?;
        if host.is_empty() || host.eq_ignore_ascii_case("localhost") {
            return Ok(Self::Localhost(port));
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let is_name = host.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-._".contains(&octet));
        if is_name {
            Ok(Self::Name(host.to_owned(), port))
        } else {
            Err(InvalidListen::Host(host.to_owned()))
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Localhost(port) => write!(f, "localhost:{port}"),
            Self::Address(address) => address.fmt(f),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for (text, shown) in [
            (":5373", "localhost:5373"),
            ("localhost:53", "localhost:53"),
            ("LocalHost:0", "localhost:0"),
            ("127.0.0.1:65535", "127.0.0.1:65535"),
            ("[::1]:1", "[::1]:1"),
            ("[::]:080", "[::]:80"),
            ("my_host.example:53", "my_host.example:53"),
        ] {
            assert_eq!(text.parse::<Listen>().map(|listen| listen.to_string()), Ok(shown.to_owned()));
        }
        assert_eq!("LOCALHOST:7".parse(), Ok(Listen::Localhost(7)));
    }

    #[test]
    fn an_invalid_address_is_named_with_its_fault() {
        for (text, complaint) in [
            ("localhost", "no port in \"localhost\""),
            ("", "no port in \"\""),
            ("[::1]", "no port in \"[::1]\""),
            ("localhost:", "invalid port \"\": expected 1-65535"),
            (":x", "invalid port \"x\": expected 1-65535"),
            ("127.0.0.1:65536", "invalid port \"65536\""),
            (":+80", "invalid port \"+80\""),
            (":-1", "invalid port \"-1\""),
            ("::1:53", "invalid host \"::1\""),
            ("[::g]:53", "invalid host \"[::g]\""),
            ("http://localhost:80", "invalid host \"http://localhost\""),
            ("a b:53", "invalid host \"a b\""),
        ] {
            let error = text.parse::<Listen>().map_err(|error| error.to_string());
            assert!(error.as_ref().is_err_and(|error| error.starts_with(complaint)), "{text}: {error:?}");
        }
    }

    #[test]
    fn a_setting_is_replaced_only_if_the_system_chose_the_port() {
        let bound = ["127.0.0.1:5373", "[::1]:5373"].map(|address| address.parse().unwrap());
        for (setting, expected) in [
            ("localhost:5373", "localhost:5373"),
            ("my_host.example:5373", "my_host.example:5373"),
            ("localhost:0", "127.0.0.1:5373"),
        ] {
            let setting: Listen = setting.parse().unwrap();
            assert_eq!(setting.bound(&bound).to_string(), expected);
            assert_eq!(setting.bound(&[]), setting);
        }
    }
}
