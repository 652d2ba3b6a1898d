//! AWS Cloud Map's HTTP API over [`sd_core::CloudMap`].
//!
//! [`CloudMapService`] is a tower service, so it runs inside any server and without a socket; [`HttpServer`] is a server
//! for it. This crate only translates: names, shapes and statuses are here, every rule of Cloud Map is in the core. What
//! each operation takes and answers, and where that is not what AWS does, is told in [`behaviour`]; what the SDKs of each
//! language need to be told, in [`clients`].
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
//! # Features
//! | feature | adds |
//! |---|---|
//! | `admin` | `AdminRoutes` and `Readiness`: probes and a reset, for a port of their own |
//! | `aws-sdk` | the module `aws_sdk`: an HTTP client for aws-sdk-rust that is a call into this process |

#![forbid(unsafe_code)]

#[cfg(feature = "admin")]
mod admin;
#[cfg(feature = "aws-sdk")]
pub mod aws_sdk;
pub mod behaviour;
mod body;
mod caller;
pub mod clients;
mod connection;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod limits;
mod origin;
mod protocol;
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
pub use limits::Limits;
pub use origin::{InvalidOrigin, Origin};
#[cfg(feature = "admin")]
pub use readiness::Readiness;
pub use server::{BindError, HttpServer, ServerService};
pub use service::{BODY_LIMIT, CloudMapService};
