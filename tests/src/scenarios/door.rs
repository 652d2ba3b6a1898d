//! The doors: four ways to call an operation.

use std::{fmt, io};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use minicbor::{Decoder, data::Type};
use sd_core::{Action, Scope};
use sd_http::{Caller, CloudMapService, typed};
use serde_json::{Map, Value};
use tokio::runtime::Runtime;
use tower_service::Service;

use super::TestBed;

/// The outcome of a call: a response, or an error with its code and its members. Times are in seconds.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::exhaustive_enums, reason = "an operation answers or fails")]
pub enum Answer {
    /// A response.
    Response(Value),
    /// An error: its `code`, and its members on the wire.
    Error(Map<String, Value>),
}

/// A way to call the operations of the API.
pub trait Door: fmt::Debug {
    /// The door's name, for messages.
    fn name(&self) -> &'static str;

    /// Calls an operation.
    ///
    /// # Errors
    /// The answer does not have the form that the door promises.
    fn call(&self, scope: Scope, action: Action, request: &Value) -> Result<Answer, String>;
}

/// The asynchronous Rust handle.
#[derive(Debug)]
pub struct AsyncDoor<'t>(&'t TestBed, Runtime);

/// The synchronous Rust handle.
#[derive(Debug)]
pub struct SyncDoor<'t>(&'t TestBed);

/// HTTP, awsJson1.1.
#[derive(Debug)]
pub struct JsonDoor(CloudMapService, Runtime);

/// HTTP, rpc-v2-cbor.
#[derive(Debug)]
pub struct CborDoor(CloudMapService, Runtime);

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().build()
}

impl<'t> AsyncDoor<'t> {
    /// The door of this test bed.
    ///
    /// # Errors
    /// The runtime cannot be built.
    pub fn new(test_bed: &'t TestBed) -> io::Result<Self> {
        Ok(Self(test_bed, runtime()?))
    }
}

impl<'t> SyncDoor<'t> {
    /// The door of this test bed.
    #[must_use]
    pub fn new(test_bed: &'t TestBed) -> Self {
        Self(test_bed)
    }
}

impl JsonDoor {
    /// The door of this test bed.
    ///
    /// # Errors
    /// The runtime cannot be built.
    pub fn new(test_bed: &TestBed) -> io::Result<Self> {
        Ok(Self(CloudMapService::new(test_bed.cloud_map.cloud_map().clone()), runtime()?))
    }
}

impl CborDoor {
    /// The door of this test bed.
    ///
    /// # Errors
    /// The runtime cannot be built.
    pub fn new(test_bed: &TestBed) -> io::Result<Self> {
        Ok(Self(CloudMapService::new(test_bed.cloud_map.cloud_map().clone()), runtime()?))
    }
}

impl Door for AsyncDoor<'_> {
    fn name(&self) -> &'static str {
        "the asynchronous handle"
    }

    fn call(&self, scope: Scope, action: Action, request: &Value) -> Result<Answer, String> {
        let handle = self.0.cloud_map.cloud_map().at(scope);
        let request = request.to_string();
        json_answer(self.1.block_on(typed::call(&handle, action, request.as_bytes())))
    }
}

impl Door for SyncDoor<'_> {
    fn name(&self) -> &'static str {
        "the synchronous handle"
    }

    fn call(&self, scope: Scope, action: Action, request: &Value) -> Result<Answer, String> {
        let handle = self.0.cloud_map.at(scope);
        json_answer(typed::call_sync(&handle, action, request.to_string().as_bytes()))
    }
}

impl Door for JsonDoor {
    fn name(&self) -> &'static str {
        "HTTP in JSON"
    }

    fn call(&self, scope: Scope, action: Action, request: &Value) -> Result<Answer, String> {
        let builder =
            Request::post("/").header("X-Amz-Target", format!("Route53AutoNaming_v20170314.{action}"));
        let (status, body) = send(&self.0, &self.1, builder, scope, request.to_string().into())?;
        json_answer(if status == StatusCode::OK { Ok(body) } else { Err(body) })
    }
}

impl Door for CborDoor {
    fn name(&self) -> &'static str {
        "HTTP in CBOR"
    }

    fn call(&self, scope: Scope, action: Action, request: &Value) -> Result<Answer, String> {
        let path = format!("/service/Route53AutoNaming_v20170314/operation/{action}");
        let builder = Request::post(path).header("smithy-protocol", "rpc-v2-cbor");
        let request = minicbor_serde::to_vec(request).map_err(|error| error.to_string())?;
        let (status, body) = send(&self.0, &self.1, builder, scope, request.into())?;
        if status == StatusCode::OK {
            // An operation without an output has no body (Smithy RPC v2 CBOR, Responses).
            let void = body.is_empty() && action == Action::UpdateInstanceCustomHealthStatus;
            return Ok(Answer::Response(if void { Value::Object(Map::new()) } else { cbor_value(&body)? }));
        }
        let mut error = cbor_value(&body)?;
        if let Some(members) = error.as_object_mut() {
            // The protocol's own message, beside the modeled one.
            if members.remove("message").as_ref() != members.get("Message") {
                return Err(format!("`message` and `Message` differ: {error}"));
            }
        }
        error_answer(error)
    }
}

fn send(
    service: &CloudMapService,
    runtime: &Runtime,
    builder: http::request::Builder,
    scope: Scope,
    body: Bytes,
) -> Result<(StatusCode, Vec<u8>), String> {
    let mut service = service.clone();
    let request = builder.extension(Caller::new(scope)).body(Full::new(body));
    let request = request.map_err(|error| error.to_string())?;
    runtime.block_on(async move {
        let Ok(response) = service.call(request).await;
        let (parts, body) = response.into_parts();
        let Ok(body) = body.collect().await;
        Ok((parts.status, body.to_bytes().to_vec()))
    })
}

fn json_answer(body: Result<Vec<u8>, Vec<u8>>) -> Result<Answer, String> {
    let read = |body: &[u8]| serde_json::from_slice(body).map_err(|error| format!("no JSON: {error}"));
    match body {
        Ok(body) => Ok(Answer::Response(read(&body)?)),
        Err(body) => error_answer(read(&body)?),
    }
}

/// Refuses an error without a code or a message.
fn error_answer(error: Value) -> Result<Answer, String> {
    let Value::Object(mut members) = error else {
        return Err(format!("the error is not a structure: {error}"));
    };
    let Some(Value::String(shape)) = members.remove("__type") else {
        return Err(format!("the error has no type: {members:?}"));
    };
    if members.get("Message").and_then(Value::as_str).is_none_or(str::is_empty) {
        return Err(format!("the error {shape} has no message"));
    }
    let code = shape.strip_prefix("com.amazonaws.servicediscovery#").unwrap_or(&shape);
    members.insert("code".to_owned(), code.into());
    Ok(Answer::Error(members))
}

fn cbor_value(body: &[u8]) -> Result<Value, String> {
    let mut decoder = Decoder::new(body);
    let value = item(&mut decoder).map_err(|error| format!("invalid CBOR: {error}"))?;
    if decoder.position() == body.len() { Ok(value) } else { Err("bytes after the body".to_owned()) }
}

/// The item as JSON. A timestamp is a number of seconds with tag 1.
fn item(decoder: &mut Decoder<'_>) -> Result<Value, minicbor::decode::Error> {
    Ok(match decoder.datatype()? {
        Type::String => decoder.str()?.into(),
        Type::Tag if decoder.tag()?.as_u64() == 1 => decoder.f64()?.into(),
        Type::Array => {
            let length = decoder.array()?.unwrap_or_default();
            Value::Array((0..length).map(|_| item(decoder)).collect::<Result<_, _>>()?)
        }
        Type::Map => {
            let length = decoder.map()?.unwrap_or_default();
            let entry = |_| Ok((decoder.str()?.to_owned(), item(decoder)?));
            Value::Object((0..length).map(entry).collect::<Result<_, minicbor::decode::Error>>()?)
        }
        _ => decoder.u64()?.into(),
    })
}
