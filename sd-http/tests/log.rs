//! Log lines of a request. This is a test program of its own because `tracing` caches its subscribers for all threads.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use sd_backend_memory::MemoryRegistry;
use sd_core::{Action, CloudMap, Error, Fault, ManualClock};
use sd_http::CloudMapService;
use tower_service::Service;
use tracing::Level;

/// A log that is kept.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Held by the one test that has a subscriber.
static TURN: Mutex<()> = Mutex::new(());

struct Turn {
    _subscriber: tracing::subscriber::DefaultGuard,
    _turn: MutexGuard<'static, ()>,
}

impl Log {
    /// Writes the events and spans of this thread to a log.
    fn start(level: Level) -> (Self, Turn) {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .with_writer(move || writer.clone());
        (log, Turn { _subscriber: tracing::subscriber::set_default(subscriber.finish()), _turn: turn })
    }

    /// The lines since the last call.
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

fn request(operation: &str, body: &str) -> Request<Full<Bytes>> {
    let target = format!("Route53AutoNaming_v20170314.{operation}");
    Request::post("/").header("x-amz-target", target).body(Full::from(body.to_owned())).unwrap()
}

async fn id_of_answer(service: &mut CloudMapService, request: Request<Full<Bytes>>) -> String {
    service.call(request).await.unwrap().headers()["x-amzn-requestid"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn everything_logged_for_a_request_has_its_id() {
    let (log, _guard) = Log::start(Level::TRACE);
    let mut service = CloudMapService::new(CloudMap::new(MemoryRegistry::new()));
    for (operation, event) in
        [("CreateHttpNamespace", "answered"), ("GetService", "refused"), ("NoSuchOperation", "refused")]
    {
        let id = id_of_answer(&mut service, request(operation, r#"{"Name":"a"}"#)).await;
        let lines = log.lines();
        assert!(lines.last().unwrap().contains(event), "{operation}: {lines:?}");
        for line in lines {
            assert!(line.contains(&format!("request{{id=\"{id}\"")), "{id}: {line}");
        }
    }
}

#[tokio::test]
async fn the_span_of_a_request_says_what_it_asked_for_and_how_it_ended() {
    let (log, _guard) = Log::start(Level::DEBUG);
    let mut service = CloudMapService::new(CloudMap::new(MemoryRegistry::new()));
    let scope = "scope=123456789012/us-east-1";
    for (operation, body, fields) in [
        ("ListNamespaces", "{}", vec!["operation=\"ListNamespaces\"", scope, "code=\"OK\""]),
        ("GetService", "{}", vec!["operation=\"GetService\"", scope, "code=\"InvalidInput\""]),
        ("GetService", "{", vec!["operation=\"GetService\"", scope, "code=\"SerializationException\""]),
        ("NoSuchOperation", "{}", vec!["code=\"UnknownOperationException\""]),
    ] {
        id_of_answer(&mut service, request(operation, body)).await;
        let lines = log.lines();
        let end = lines.last().unwrap();
        for field in fields.into_iter().chain(["protocol=\"awsJson1.1\"", "duration_us="]) {
            assert!(end.contains(field), "{operation} {body} lacks {field}: {end}");
        }
    }
}

#[tokio::test]
async fn a_request_that_is_given_up_is_logged_and_counted_as_canceled() {
    let (log, _guard) = Log::start(Level::DEBUG);
    let cloud_map = CloudMap::new(MemoryRegistry::new());
    let clock = Arc::new(ManualClock::default());
    cloud_map.faults().inject(Fault::delay(Action::ListNamespaces, &clock, Duration::from_secs(1)));
    let mut service = CloudMapService::new(cloud_map);
    let mut answer = service.call(request("ListNamespaces", "{}"));
    assert!(matches!(answer.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending));
    assert_eq!(service.counters().in_progress, 1);
    drop(answer);
    let counters = service.counters();
    assert_eq!(counters.in_progress, 0);
    let ended: Vec<_> = counters.finished.iter().map(|row| (row.operation, row.outcome.as_str())).collect();
    assert_eq!(ended, [(Some(Action::ListNamespaces), "Canceled")]);
    let lines = log.lines();
    let end = lines.last().unwrap();
    assert!(end.contains("code=\"Canceled\"") && end.contains("canceled: the client left"), "{lines:?}");
}

#[tokio::test]
async fn a_cause_that_no_client_sees_is_a_warning_with_the_id_that_the_client_has() {
    let (log, _guard) = Log::start(Level::WARN);
    let cloud_map = CloudMap::new(MemoryRegistry::new());
    let cause = Arc::new(io::Error::other("disk full"));
    let error = Error::Unavailable { source: Some(cause), retry_after: None };
    cloud_map.faults().inject(Fault::error(Action::ListNamespaces, error));
    let mut service = CloudMapService::new(cloud_map);
    let id = id_of_answer(&mut service, request("ListNamespaces", "{}")).await;
    let lines = log.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    for field in [&*id, "ListNamespaces", "ServiceUnavailable", "disk full", "duration_us="] {
        assert!(lines[0].contains(field), "{field}: {}", lines[0]);
    }
}
