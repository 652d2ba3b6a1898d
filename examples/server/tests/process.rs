//! The process as a shell sees it: exit codes, what it prints, how it ends.

#![allow(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    process::{Child, Command, Stdio},
};

fn server() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sd-server"));
    for name in ["HTTP", "ADMIN", "DNS", "ACCOUNT", "REGION", "STRICT", "TIMING", "QUOTAS", "FORWARD", "LOG"]
    {
        command.env_remove(format!("SD_{name}"));
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Exit code, standard output and standard error of a run that ends by itself.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = server().args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

const ANY_PORTS: [&str; 6] = ["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--dns", "127.0.0.1:0"];

/// The settings with one of them changed.
fn with<'a>(flag: &'a str, value: &'a str) -> Vec<&'a str> {
    let others = ANY_PORTS.chunks(2).filter(|pair| pair[0] != flag).flatten().copied();
    [flag, value].into_iter().chain(others).collect()
}

/// The lines of the banner, which ends with the exports.
fn banner(child: &mut Child) -> String {
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

#[test]
fn env_prints_exports_only() {
    let (code, out, err) =
        run(&["env", "--http", "localhost:1234", "--region", "eu-west-1", "--account", "000000000001"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.lines().all(|line| line.starts_with("export AWS_")), "{out}");
    for export in [
        "AWS_ENDPOINT_URL_SERVICEDISCOVERY=http://localhost:1234",
        "AWS_DISABLE_HOST_PREFIX_INJECTION=true",
        "AWS_ACCESS_KEY_ID=000000000001",
        "AWS_REGION=eu-west-1",
    ] {
        assert!(out.contains(export), "{out}");
    }
}

#[test]
fn the_banner_tells_where_it_listens_and_a_signal_ends_it() {
    for signal in ["TERM", "INT"] {
        let mut child = server().args(ANY_PORTS).spawn().unwrap();
        let banner = banner(&mut child);
        assert_eq!(banner.lines().filter(|line| line.contains("  127.0.0.1:")).count(), 3, "{banner}");
        assert!(!banner.contains(":0\n"), "{banner}");
        let kill =
            Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn it_takes_as_many_descriptors_as_it_may() {
    let script = "ulimit -Sn 64 && exec \"$0\" \"$@\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_sd-server")]).args(ANY_PORTS).stdout(Stdio::piped());
    let mut child = shell.spawn().unwrap();
    banner(&mut child);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let [soft, hard] = line.split_whitespace().skip(3).take(2).collect::<Vec<_>>()[..] else {
        panic!("{line}")
    };
    assert_eq!(soft, hard);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Creates a private namespace in this VPC through the API at this address: the answer, head and body.
fn create_namespace(address: &str, name: &str, vpc: &str) -> String {
    let body = format!(r#"{{"Name": "{name}", "Vpc": "{vpc}"}}"#);
    let target = "Route53AutoNaming_v20170314.CreatePrivateDnsNamespace";
    let len = body.len();
    send(address, "POST /", &format!("X-Amz-Target: {target}\r\nContent-Length: {len}\r\n\r\n{body}"))
}

/// Sends a request, to this address: the answer, head and body.
fn send(address: &str, request: &str, rest: &str) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    write!(connection, "{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{rest}").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

/// Where the banner says that this port listens.
fn address<'b>(banner: &'b str, port: &str) -> &'b str {
    let line = banner.lines().find(|line| line.trim_start().starts_with(port)).unwrap();
    line.split_whitespace().nth(1).unwrap()
}

#[test]
fn a_hidden_zone_is_told_of_in_the_log_and_on_the_admin_port() {
    let mut child = server().args(ANY_PORTS).spawn().unwrap();
    let banner = banner(&mut child);
    let report = || send(address(&banner, "admin"), "GET /_sd/dns", "\r\n");
    for (vpc, hidden) in [("vpc-1", false), ("vpc-2", true)] {
        let answer = create_namespace(address(&banner, "API"), "app.local", vpc);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let report = report();
        assert_eq!(report.contains(r#""hidden_zones":[{"name":"app.local"#), hidden, "{report}");
        assert!(report.contains(r#""answers":{"udp":0,"#), "{report}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(errors.lines().count() == 1 && errors.contains("hidden"), "{errors}");
}

#[test]
fn quotas_are_set_by_flag_or_variable_and_off_without() {
    let aws = [&ANY_PORTS[..], &["--quotas", "aws"]].concat();
    let servers = [
        (server().args(ANY_PORTS).spawn().unwrap(), false),
        (server().args(ANY_PORTS).env("SD_QUOTAS", "aws").spawn().unwrap(), true),
        (server().args(aws).spawn().unwrap(), true),
    ];
    for (mut child, limited) in servers {
        let banner = banner(&mut child);
        let address = address(&banner, "API");
        for i in 0..50 {
            let answer = create_namespace(address, &format!("n{i}.local"), "vpc-1");
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
        let answer = create_namespace(address, "one-more.local", "vpc-1");
        assert_eq!(answer.contains("\"ResourceLimitExceeded\""), limited, "{answer}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn a_taken_port_is_one_clear_line_and_code_2() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--http", "--admin", "--dns"] {
        let (code, out, err) = run(&with(flag, &address));
        assert_eq!((code, out.as_str()), (Some(2), ""), "{flag}");
        assert_eq!(err.lines().count(), 1, "{err}");
        assert!(err.contains(&address) && err.contains(flag), "{err}");
    }
}

#[test]
fn names_are_forwarded_to_others_but_not_in_a_circle() {
    let mut child = server().args(with("--forward", "192.0.2.1,[2001:db8::1]:5353")).spawn().unwrap();
    let banner = banner(&mut child);
    assert!(banner.contains("192.0.2.1:53 and [2001:db8::1]:5353\n"), "{banner}");
    child.kill().unwrap();
    child.wait().unwrap();
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (code, out, err) = run(&[&with("--dns", &free)[..], &["--forward", &free]].concat());
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.lines().count() == 1 && err.contains(&free) && err.contains("itself"), "{err}");
}

#[test]
fn a_bad_flag_is_named_with_code_2() {
    for (flag, value) in [
        ("--account", "12"),
        ("--region", "US EAST"),
        ("--http", "nowhere"),
        ("--admin", "127.0.0.1"),
        ("--dns", "127.0.0.1:65536"),
        ("--timing", "slow"),
        ("--quotas", "many"),
        ("--forward", "resolver.example"),
        ("--no-such-flag", "x"),
    ] {
        let (code, out, err) = run(&with(flag, value));
        assert_eq!((code, out.as_str()), (Some(2), ""), "{flag} {value}");
        assert!(err.contains(flag) && !err.contains("panicked"), "{flag} {value}: {err}");
    }
}

#[test]
fn a_flag_is_also_a_variable() {
    let mut child =
        server().args(ANY_PORTS).env("SD_REGION", "eu-north-1").env("SD_STRICT", "true").spawn().unwrap();
    let banner = banner(&mut child);
    assert!(banner.contains("Strict") && banner.contains("AWS_REGION=eu-north-1"), "{banner}");
    child.kill().unwrap();
    child.wait().unwrap();
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(errors, "");
}
