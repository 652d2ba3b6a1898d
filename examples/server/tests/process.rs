//! The process as a shell sees it: exit codes, output, signals.

#![allow(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

mod support;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use support::{ANY_PORTS, address, banner, ended, run, send, server, signal, with};

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
    // Only an address that is no destination is replaced.
    for (http, url) in [("192.0.2.1:80", "http://192.0.2.1:80"), ("0.0.0.0:80", "http://localhost:80")] {
        let (_, out, _) = run(&["env", "--http", http]);
        assert!(out.contains(&format!("AWS_ENDPOINT_URL_SERVICEDISCOVERY={url}\n")), "{out}");
    }
}

#[test]
fn the_banner_names_the_addresses_and_a_signal_ends_the_server() {
    for signal in ["TERM", "INT"] {
        let mut child = server().args(ANY_PORTS).spawn().unwrap();
        let banner = banner(&mut child);
        assert_eq!(banner.lines().filter(|line| line.contains("  127.0.0.1:")).count(), 3, "{banner}");
        assert!(!banner.contains(":0\n"), "{banner}");
        self::signal(&child, signal);
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_limit_of_file_descriptors_is_raised() {
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

/// The log on standard error, read up to a line with this text, which is returned.
fn logged(log: &mut impl BufRead, text: &str) -> String {
    for line in log.lines() {
        let line = line.unwrap();
        if line.contains(text) {
            return line;
        }
    }
    panic!("the log ends without {text:?}")
}

/// Creates a private namespace in this VPC through the API at this address. Returns the answer, head and body.
fn create_namespace(address: &str, name: &str, vpc: &str) -> String {
    let body = format!(r#"{{"Name": "{name}", "Vpc": "{vpc}"}}"#);
    let target = "Route53AutoNaming_v20170314.CreatePrivateDnsNamespace";
    let len = body.len();
    send(address, "POST /", &format!("X-Amz-Target: {target}\r\nContent-Length: {len}\r\n\r\n{body}"))
}

#[test]
fn a_hidden_zone_is_reported_in_the_log_and_on_the_admin_port() {
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
fn the_admin_port_reports_http_requests_and_connections() {
    let mut child = server().args(ANY_PORTS).spawn().unwrap();
    let banner = banner(&mut child);
    for name in ["app.local", "a b"] {
        create_namespace(address(&banner, "API"), name, "vpc-1");
    }
    let report = send(address(&banner, "admin"), "GET /_sd/http", "\r\n");
    for code in ["OK", "InvalidInput"] {
        let row =
            r#"{"operation":"CreatePrivateDnsNamespace","protocol":"awsJson1.1","code":"CODE","count":1}"#;
        assert!(report.contains(&row.replace("CODE", code)), "{report}");
    }
    assert!(report.contains(r#""in_progress":0,"#) && report.contains(r#""accepted":2,"#), "{report}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn quotas_are_off_unless_a_flag_or_variable_sets_them() {
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
fn a_taken_port_ends_with_one_line_and_code_2() {
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
fn an_upstream_is_named_and_must_not_be_this_server() {
    let mut child = server().args(with("--forward", "192.0.2.1,[2001:db8::1]:5353")).spawn().unwrap();
    let banner = banner(&mut child);
    assert!(banner.contains("forwards other names to 192.0.2.1:53 and [2001:db8::1]:5353\n"), "{banner}");
    child.kill().unwrap();
    child.wait().unwrap();
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (code, out, err) = run(&[&with("--dns", &free)[..], &["--forward", &free]].concat());
    assert_eq!((code, out.as_str()), (Some(2), ""));
    let loops = "this address is also an upstream of the forwarder";
    assert_eq!(err, format!("sd-server: --dns: cannot listen on {free} (UDP): {loops}\n"));
}

#[test]
fn a_bad_flag_is_named_with_code_2() {
    for (flag, value) in [
        ("--account", "12"),
        ("--region", "US EAST"),
        ("--http", "nowhere"),
        ("--http", ":x"),
        ("--admin", "127.0.0.1"),
        ("--dns", "127.0.0.1:65536"),
        ("--dns", "127.0.0.1:0,::1:0"),
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

#[test]
fn every_listening_flag_takes_the_same_addresses() {
    for (value, first) in [(":0", "127.0.0.1:"), ("localhost:0", "127.0.0.1:"), ("127.1:0", "127.0.0.1:")] {
        let mut child = server().args(["--http", value, "--admin", value, "--dns", value]).spawn().unwrap();
        let banner = banner(&mut child);
        let families = ["API", "admin", "DNS"].map(|port| {
            let line = banner.lines().find(|line| line.trim_start().starts_with(port)).unwrap();
            let addresses: Vec<SocketAddr> =
                line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            assert!(addresses[0].to_string().starts_with(first), "{value}: {banner}");
            assert!(addresses.iter().all(|address| address.port() == addresses[0].port()), "{banner}");
            addresses.len()
        });
        // Both loopback addresses, or one on a machine that has no IPv6.
        assert!(families.iter().all(|count| *count == families[0] && *count <= 2), "{value}: {banner}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let (code, out, _) = run(&["env", "--http", ":5373"]);
    assert!(code == Some(0) && out.contains("=http://localhost:5373\n"), "{out}");
}

#[test]
fn a_host_that_does_not_resolve_ends_with_one_line_and_code_2() {
    for flag in ["--http", "--admin", "--dns"] {
        // Its second label is empty, so no resolver is asked.
        let (code, out, err) = run(&with(flag, "a..b:0"));
        assert_eq!((code, out.as_str(), err.lines().count()), (Some(2), "", 1), "{err}");
        assert!(err.contains(flag) && err.contains("a..b"), "{err}");
    }
}

#[test]
fn a_closed_output_is_not_an_error() {
    let closed = || io::pipe().unwrap().1;
    for arguments in ["env", "--help", "--version"] {
        let run = server().arg(arguments).stdout(closed()).output().unwrap();
        assert_eq!(ended(run), (Some(0), String::new(), String::new()), "{arguments}");
    }
    let mut child = server().args(ANY_PORTS).env("SD_LOG", "info").stdout(closed()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let listening = logged(&mut log, "listening");
    let admin = listening.split("admin=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let health = send(admin, "GET /_sd/health", "\r\n");
    assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
    signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_output_ends_with_one_line_and_code_1() {
    for arguments in [&["env"][..], &["--help"], &ANY_PORTS] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let (code, _, err) = ended(server().args(arguments).stdout(full).output().unwrap());
        assert_eq!((code, err.lines().count()), (Some(1), 1), "{arguments:?}: {err}");
        assert!(err.starts_with("sd-server: cannot write to standard output: "), "{err}");
    }
    let full = File::options().write(true).open("/dev/full").unwrap();
    let run = server().args(with("--http", "127.0.0.1")).stderr(full).output().unwrap();
    assert_eq!(run.status.code(), Some(2));
}

#[test]
fn a_closed_log_does_not_disturb_the_server() {
    let mut child =
        server().args(ANY_PORTS).env("SD_LOG", "trace").stderr(io::pipe().unwrap().1).spawn().unwrap();
    let banner = banner(&mut child);
    // The second one is a hidden zone, which is logged.
    for vpc in ["vpc-1", "vpc-2"] {
        let answer = create_namespace(address(&banner, "API"), "app.local", vpc);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_bad_log_filter_ends_with_one_line_and_code_2() {
    for value in ["loud", "sd_dns=loud"] {
        let (code, out, err) = ended(server().args(ANY_PORTS).env("SD_LOG", value).output().unwrap());
        assert_eq!((code, out.as_str(), err.lines().count()), (Some(2), "", 1), "{value}: {err}");
        assert!(err.contains("SD_LOG") && err.contains(value) && err.contains("debug"), "{err}");
    }
}

/// An A query for `app.local`: its response code.
fn rcode(dns: &UdpSocket) -> u8 {
    let query = b"\x12\x34\0\0\0\x01\0\0\0\0\0\0\x03app\x05local\0\0\x01\0\x01";
    let mut answer = [0; 512];
    dns.send(query).unwrap();
    let length = dns.recv(&mut answer).unwrap();
    assert!(length >= query.len() && answer[..2] == query[..2], "{answer:02x?}");
    answer[3] & 0xF
}

#[test]
fn operations_finish_in_dns_without_calls_of_the_api() {
    let mut child = server().args([&ANY_PORTS[..], &["--timing", "aws"]].concat()).spawn().unwrap();
    let banner = banner(&mut child);
    let dns = UdpSocket::bind("127.0.0.1:0").unwrap();
    dns.connect(address(&banner, "DNS")).unwrap();
    dns.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    const REFUSED: u8 = 5;
    assert_eq!(rcode(&dns), REFUSED);
    let report = send(address(&banner, "admin"), "GET /_sd/dns", "\r\n");
    assert!(report.contains(r#""answers":{"udp":1,"#), "{report}");
    let answer = create_namespace(address(&banner, "API"), "app.local", "vpc-1");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // A call of the API would bring the state up to date, so none is made.
    let deadline = Instant::now() + Duration::from_secs(60);
    while rcode(&dns) == REFUSED {
        assert!(Instant::now() < deadline, "the namespace does not appear in DNS by itself");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A server that drains, with a request whose body has not arrived.
struct Draining {
    child: Child,
    admin: String,
    request: TcpStream,
}

impl Draining {
    const BODY: &str = r#"{"Name": "late.example"}"#;
    const SENT: usize = 9;

    fn new(first_signal: &str) -> Self {
        let mut child = server().args(ANY_PORTS).spawn().unwrap();
        let banner = banner(&mut child);
        let admin = address(&banner, "admin").to_owned();
        let ready = send(&admin, "GET /_sd/ready", "\r\n");
        assert!(ready.starts_with("HTTP/1.1 200 "), "{ready}");
        let mut request = TcpStream::connect(address(&banner, "API")).unwrap();
        let (target, length) = ("Route53AutoNaming_v20170314.CreateHttpNamespace", Self::BODY.len());
        let head =
            format!("POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: {target}\r\nContent-Length: {length}");
        // The server sends 100 once it reads the body: the request is in progress.
        write!(request, "{head}\r\nExpect: 100-continue\r\n\r\n").unwrap();
        let mut first = [0; 25];
        request.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
        request.write_all(&Self::BODY.as_bytes()[..Self::SENT]).unwrap();
        signal(&child, first_signal);
        // The server is not ready once the signal has arrived. The request in progress keeps it alive.
        while send(&admin, "GET /_sd/ready", "\r\n").starts_with("HTTP/1.1 200 ") {}
        Self { child, admin, request }
    }
}

#[test]
fn a_draining_server_answers_requests_in_progress_and_is_alive_but_not_ready() {
    for name in ["TERM", "INT"] {
        let Draining { mut child, admin, mut request } = Draining::new(name);
        let ready = send(&admin, "GET /_sd/ready", "\r\n");
        assert!(ready.starts_with("HTTP/1.1 503 ") && ready.contains("draining"), "{ready}");
        let health = send(&admin, "GET /_sd/health", "\r\n");
        assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
        request.write_all(&Draining::BODY.as_bytes()[Draining::SENT..]).unwrap();
        let mut answer = String::new();
        request.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("OperationId"), "{answer}");
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn a_draining_server_answers_dns_queries_in_progress() {
    let upstream = UdpSocket::bind("127.0.0.1:0").unwrap();
    let forward = upstream.local_addr().unwrap().to_string();
    let mut child = server().args(ANY_PORTS).args(["--forward", &forward]).spawn().unwrap();
    let banner = banner(&mut child);
    let admin = address(&banner, "admin");
    let mut dns = TcpStream::connect(address(&banner, "DNS")).unwrap();
    let query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x01\0\x01";
    let length = u16::try_from(query.len()).unwrap();
    dns.write_all(&[&length.to_be_bytes()[..], query].concat()).unwrap();
    let mut received = [0; 1500];
    // The server also asks for a name of its own, to find out whether it forwards to itself.
    let source = loop {
        let (length, source) = upstream.recv_from(&mut received).unwrap();
        if received[..length].windows(7).any(|text| text == b"example") {
            break source;
        }
    };
    signal(&child, "TERM");
    // The query in progress keeps the server alive.
    while send(admin, "GET /_sd/ready", "\r\n").starts_with("HTTP/1.1 200 ") {}
    // The query without its OPT record, as an NXDOMAIN response.
    const NXDOMAIN: u8 = 3;
    let mut response = received[..query.len()].to_vec();
    response[2..12].copy_from_slice(&[0x81, 0x80 | NXDOMAIN, 0, 1, 0, 0, 0, 0, 0, 0]);
    upstream.send_to(&response, source).unwrap();
    let mut answer = Vec::new();
    dns.read_to_end(&mut answer).unwrap();
    assert!(answer.len() > 2 + 4 && answer[2..4] == query[..2], "{answer:02x?}");
    assert_eq!(answer[5] & 0xF, NXDOMAIN);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_port_that_is_taken_on_one_loopback_address_is_not_tried_again() {
    // The second address, or the only one of a machine without IPv6.
    let taken = UdpSocket::bind("[::1]:0").or_else(|_| UdpSocket::bind("127.0.0.1:0")).unwrap();
    let port = taken.local_addr().unwrap().port();
    let (code, out, err) = run(&with("--dns", &format!("localhost:{port}")));
    assert_eq!((code, out.as_str(), err.lines().count()), (Some(2), "", 1), "{err}");
    assert!(err.contains(&format!(":{port} ")), "{err}");
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    for (first, second, code) in [("TERM", "TERM", 143), ("INT", "INT", 130), ("TERM", "INT", 130)] {
        let Draining { mut child, mut request, .. } = Draining::new(first);
        signal(&child, second);
        // A server that drains ends with 0.
        assert_eq!(child.wait().unwrap().code(), Some(code));
        let mut answer = Vec::new();
        let _ = request.read_to_end(&mut answer);
        assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    }
}

#[test]
fn a_request_that_never_ends_is_canceled_before_a_container_is_killed() {
    let Draining { mut child, mut request, .. } = Draining::new("TERM");
    // A server that is killed ends with another code.
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut answer = Vec::new();
    let _ = request.read_to_end(&mut answer);
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
}
