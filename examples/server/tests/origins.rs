//! The pages in browsers that may call the server.

#![allow(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

fn server() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sd-server"));
    command.args(["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--dns", "127.0.0.1:0"]);
    command.env_remove("SD_ALLOW_ORIGIN").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Ends the process when the test does.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The status of a GET by a page of this origin.
fn status(address: &str, path: &str, origin: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nOrigin: {origin}\r\nConnection: close\r\n\
         X-Amz-Target: Route53AutoNaming_v20170314.ListNamespaces\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn listed_origins_and_loopback_may_call_both_ports() {
    let mut by_variable = server();
    by_variable.env("SD_ALLOW_ORIGIN", "https://a.example,http://b.example:8080");
    let mut by_flags = server();
    by_flags.args(["--allow-origin", "https://a.example", "--allow-origin", "http://b.example:8080"]);
    for mut command in [by_variable, by_flags] {
        let mut child = Running(command.spawn().unwrap());
        let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut address = |name: &str| {
            let line = lines.find(|line| line.trim_start().starts_with(name)).unwrap();
            line.split_whitespace().last().unwrap().to_owned()
        };
        let ports = [(address("API"), "/"), (address("admin"), "/_sd/dns")];
        for (address, path) in &ports {
            for (origin, expected) in [
                ("https://a.example", "200"),
                ("http://b.example:8080", "200"),
                ("http://localhost:3000", "200"),
                ("http://b.example", "403"),
                ("null", "403"),
            ] {
                assert_eq!(status(address, path, origin), expected, "{address}{path} {origin}");
            }
        }
    }
}

#[test]
fn an_invalid_origin_is_named() {
    let output = server().args(["--allow-origin", "*"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains(r#"invalid origin "*": expected SCHEME://HOST[:PORT]"#), "{error}");
}
