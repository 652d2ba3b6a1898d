//! Health checks of the process: flags, the admin port, and `sd-server probe`.

#![allow(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

mod support;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    process::Child,
    thread,
};

use support::{ANY_PORTS, address, banner, ended, run, send, server};

/// A backend that answers each request with this status, until the process ends.
fn backend(status: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 1024]);
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        }
    });
    address
}

fn call(api: &str, operation: &str, body: &str) -> String {
    let head =
        format!("X-Amz-Target: Route53AutoNaming_v20170314.{operation}\r\nContent-Length: {}", body.len());
    let answer = send(api, "POST /", &format!("{head}\r\n\r\n{body}"));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    answer
}

/// The value of the first member with this name.
fn member<'a>(json: &'a str, name: &str) -> &'a str {
    let from = json.split_once(&format!("\"{name}\":\"")).unwrap().1;
    from.split_once('"').unwrap().0
}

/// A server with the service `web` in `app`, whose status changes after one failure, and its instance `a`.
fn serve(flags: &[&str], target: SocketAddr) -> (Child, String, String) {
    let mut child = server().args(ANY_PORTS).args(flags).spawn().unwrap();
    let banner = banner(&mut child);
    let api = address(&banner, "API");
    call(api, "CreateHttpNamespace", r#"{"Name":"app"}"#);
    let listed = call(api, "ListNamespaces", "{}");
    let namespace = member(&listed, "Id");
    let check = r#"{"Type":"HTTP","ResourcePath":"/up","FailureThreshold":1}"#;
    let request = format!(r#"{{"Name":"web","NamespaceId":"{namespace}","HealthCheckConfig":{check}}}"#);
    let service = member(&call(api, "CreateService", &request), "Id").to_owned();
    let (ip, port) = (target.ip(), target.port());
    let attributes = format!(r#"{{"AWS_INSTANCE_IPV4":"{ip}","AWS_INSTANCE_PORT":"{port}"}}"#);
    let request = format!(r#"{{"ServiceId":"{service}","InstanceId":"a","Attributes":{attributes}}}"#);
    call(api, "RegisterInstance", &request);
    (child, banner, service)
}

fn status(banner: &str, service: &str) -> String {
    let request = format!(r#"{{"ServiceId":"{service}"}}"#);
    let answer = call(address(banner, "API"), "GetInstancesHealthStatus", &request);
    member(&answer, "a").to_owned()
}

fn end(mut child: Child) -> String {
    child.kill().unwrap();
    ended(child.wait_with_output().unwrap()).2
}

#[test]
fn a_failing_backend_is_unhealthy_and_the_log_says_why() {
    let target = backend("503 Service Unavailable");
    let (child, banner, service) = serve(&["--health-interval", "100ms"], target);
    while status(&banner, &service) == "HEALTHY" {
        thread::yield_now();
    }
    let admin = address(&banner, "admin");
    let report = send(admin, "GET /_sd/health-checks?service=web.app&instance=a", "\r\n");
    assert!(
        report.contains(r#""status":"UNHEALTHY""#) && report.contains(r#""failure":"status_503""#),
        "{report}"
    );
    let counters = send(admin, "GET /_sd/health-checks", "\r\n");
    assert!(counters.contains(r#""to_unhealthy":1,"#), "{counters}");
    let unknown = send(admin, "GET /_sd/health-checks?service=nope", "\r\n");
    assert!(unknown.starts_with("HTTP/1.1 404 ") && unknown.contains("no service \"nope\""), "{unknown}");
    let log = end(child);
    assert!(log.contains("instance is unhealthy") && log.contains("failure=status_503"), "{log}");
    assert_eq!(log.lines().count(), 1, "results are not logged: {log}");
}

#[test]
fn probe_prints_the_phases_and_the_failure() {
    let target = backend("204 No Content");
    let (child, banner, service) = serve(&[], target);
    let admin = address(&banner, "admin");
    let (code, out, err) = run(&["probe", "web", "a", "--admin", admin]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines[0], format!("a in {service}: healthy, status 204"));
    assert_eq!(lines[1], format!("  HTTP {target} GET /up, Host: {target}"));
    for (line, phase) in lines[2..].iter().zip(["  connect", "  first byte", "  status"]) {
        assert!(line.starts_with(phase) && line.ends_with(" ms"), "{line}");
    }
    let (code, out, err) = run(&["probe", "nope", "--admin", admin]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.starts_with("sd-server: no service \"nope\": expected an id"), "{err}");
    end(child);
    let (code, _, err) = run(&["probe", "web", "--admin", admin]);
    assert_eq!(code, Some(2));
    assert!(
        err.starts_with(&format!("sd-server: cannot connect to the admin port of a server at {admin}: ")),
        "{err}"
    );
}

#[test]
fn probe_reports_the_status_of_an_answer_without_a_text() {
    let admin = backend("404 Not Found").to_string();
    let (code, out, err) = run(&["probe", "web", "--admin", &admin]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert_eq!(err, format!("sd-server: the server at {admin} answers 404 Not Found\n"));
}

#[test]
fn health_can_start_as_unhealthy_and_need_not_be_checked() {
    let nothing = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (child, banner, service) = serve(&["--no-health-checks", "--health-start", "unhealthy"], nothing);
    assert_eq!(status(&banner, &service), "UNHEALTHY");
    let report = send(address(&banner, "admin"), "GET /_sd/health-checks", "\r\n");
    assert!(report.starts_with("HTTP/1.1 404 "), "{report}");
    end(child);
}

#[test]
fn an_interval_is_a_duration_of_100_ms_or_more() {
    for (interval, error) in
        [("99ms", "expected at least 100ms"), ("1", "time unit needed"), ("soon", "expected number")]
    {
        let (code, _, err) = run(&["--health-interval", interval]);
        assert_eq!(code, Some(2), "{interval}");
        assert!(err.contains(error), "{err}");
    }
}
