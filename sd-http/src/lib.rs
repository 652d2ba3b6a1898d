//! AWS Cloud Map's HTTP API over [`sd_core::CloudMap`].
//!
//! [`CloudMapService`] is a tower service: it runs inside any server, or without a socket. [`HttpServer`] is a
//! server for it.
//!
//! ```
//! use http::Request;
//! use http_body_util::{BodyExt, Full};
//! use sd_backend_memory::MemoryRegistry;
//! use sd_core::CloudMap;
//! use sd_http::CloudMapService;
//! use tower_service::Service;
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let mut service = CloudMapService::new(CloudMap::new(MemoryRegistry::new()));
//! let request = Request::post("http://localhost/")
//!     .header("X-Amz-Target", "Route53AutoNaming_v20170314.ListNamespaces")
//!     .body(Full::<bytes::Bytes>::from("{}"))
//!     .unwrap();
//! assert!(CloudMapService::claims(&request));
//! let response = service.call(request).await.unwrap();
//! assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), r#"{"Namespaces":[]}"#);
//! # });
//! ```
//!
//! This crate has the names, shapes and statuses of the protocols. The rules of Cloud Map are in `sd-core`.
//!
//! - [`CloudMapService`] takes the account and Region from the signature, or from a [`Caller`] that its host
//!   sets. It refuses pages in browsers that are not from this machine, or from an allowed [`Origin`].
//! - [`HttpServer`] bounds the memory and time of its clients by [`Limits`].
//! - `AdminRoutes` (feature `admin`) are routes for operators: probes, reports, a reset.
//! - Every request has a tracing span, `request`, with its id (the header `x-amzn-requestid`, which SDKs print
//!   with errors), operation, scope, protocol, code and duration. [`RequestCounters`] and
//!   [`ConnectionCounters`] can be read at any time.
//!
//! [`behaviour`] says what each operation takes and answers, and where that differs from AWS. [`clients`] says
//! how to configure the SDK of each language.
//!
//! # Features
//!
//! None is on by default.
//!
//! | feature | adds |
//! |---|---|
//! | `admin` | `AdminRoutes` and `Readiness`, with axum |
//! | `health-checks` | `health_checks`: a prober for the health checks of services, with rustls |
//! | `aws-sdk` | `aws_sdk::InProcess`, an HTTP client for aws-sdk-rust that needs no port |

#![forbid(unsafe_code)]

mod activity;
#[cfg(feature = "admin")]
mod admin;
mod answer;
#[cfg(feature = "aws-sdk")]
pub mod aws_sdk;
pub mod behaviour;
mod body;
mod caller;
mod cbor;
pub mod clients;
mod connection;
mod counters;
mod dispatch;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "health-checks")]
pub mod health_checks;
mod limits;
mod names;
mod observe;
mod origin;
mod protocol;
mod read;
#[cfg(feature = "admin")]
mod readiness;
mod reset;
mod server;
mod service;
#[cfg(feature = "typed")]
#[doc(hidden)]
pub mod typed;
mod wire;

#[cfg(feature = "admin")]
pub use admin::AdminRoutes;
pub use body::RequestBody;
pub use caller::Caller;
pub use connection::ServerService;
pub use counters::{ConnectionCounters, FinishedRequests, OperationLatency, Outcome, RequestCounters};
pub use limits::Limits;
pub use origin::{InvalidOrigin, Origin};
pub use protocol::Protocol;
pub use read::BODY_LIMIT;
#[cfg(feature = "admin")]
pub use readiness::Readiness;
pub use sd_core::door::Latency;
pub use server::{BindError, HttpServer, ServerMeter};
pub use service::CloudMapService;
