//! Log lines of a request. This is a test program of its own because `tracing` caches its subscribers for all threads.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    io,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use sd_backend_memory::MemoryRegistry;
use sd_core::CloudMap;
use sd_http::CloudMapService;
use tower_service::Service;

/// The lines of the log.
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

#[tokio::test]
async fn every_log_line_of_a_request_has_its_id() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone());
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let mut service = CloudMapService::new(CloudMap::new(MemoryRegistry::new()));
    for (operation, event) in
        [("CreateHttpNamespace", "answered"), ("GetService", "refused"), ("NoSuchOperation", "refused")]
    {
        let target = format!("Route53AutoNaming_v20170314.{operation}");
        let request = Request::post("/").header("x-amz-target", target);
        let answer =
            service.call(request.body(Full::<Bytes>::from(r#"{"Name":"a"}"#)).unwrap()).await.unwrap();
        let id = answer.headers()["x-amzn-requestid"].to_str().unwrap();
        let lines = String::from_utf8(std::mem::take(&mut *log.0.lock().unwrap())).unwrap();
        assert!(lines.contains(event), "{operation}: {lines}");
        for line in lines.lines() {
            assert!(line.contains(&format!("request{{id=\"{id}\"")), "{id}: {line}");
        }
    }
}
