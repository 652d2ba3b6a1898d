//! Servers as processes.

#![allow(dead_code, reason = "each test binary uses another part")]
#![allow(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Output, Stdio},
};

pub(crate) fn server() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sd-server"));
    for name in [
        "HTTP",
        "ADMIN",
        "DNS",
        "ACCOUNT",
        "REGION",
        "STRICT",
        "TIMING",
        "QUOTAS",
        "FORWARD",
        "ALLOW_ORIGIN",
        "HEALTH_INTERVAL",
        "HEALTH_START",
        "NO_HEALTH_CHECKS",
        "PROBE_LINK_LOCAL",
        "LOG",
    ] {
        command.env_remove(format!("SD_{name}"));
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Exit code, standard output and standard error of a run that ends by itself.
pub(crate) fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    ended(server().args(arguments).output().unwrap())
}

pub(crate) fn ended(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

pub(crate) fn signal(child: &Child, name: &str) {
    let kill = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status().unwrap();
    assert!(kill.success());
}

pub(crate) const ANY_PORTS: [&str; 6] =
    ["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--dns", "127.0.0.1:0"];

/// The settings with one of them changed.
pub(crate) fn with<'a>(flag: &'a str, value: &'a str) -> Vec<&'a str> {
    let others = ANY_PORTS.chunks(2).filter(|pair| pair[0] != flag).flatten().copied();
    [flag, value].into_iter().chain(others).collect()
}

/// The lines of the banner, which ends with the exports.
pub(crate) fn banner(child: &mut Child) -> String {
    let mut banner = String::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap() + "\n";
        banner.push_str(&line);
        if line.starts_with("export AWS_DEFAULT_REGION=") {
            break;
        }
    }
    banner
}

/// Sends a request to this address. Returns the answer, head and body.
pub(crate) fn send(address: &str, request: &str, rest: &str) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    write!(connection, "{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{rest}").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

/// The first address of this port in the banner.
pub(crate) fn address<'b>(banner: &'b str, port: &str) -> &'b str {
    let line = banner.lines().find(|line| line.trim_start().starts_with(port)).unwrap();
    line.split_whitespace().nth(1).unwrap()
}
