//! An HTTP client for aws-sdk-rust that calls into this process, without a port (feature `aws-sdk`).
//!
//! An SDK client whose `http_client` is an [`InProcess`] calls the Cloud Map of that `InProcess`. Nothing listens, no
//! name is looked up, nothing waits:
//!
//! ```text
//! Client::from_conf(
//!     Config::builder()
//!         .behavior_version(BehaviorVersion::latest())
//!         .region(Region::new("us-east-1"))
//!         .credentials_provider(Credentials::new("123456789012", "any", None, None, "test"))
//!         .http_client(InProcess::new(cloud_map))
//!         .build(),
//! )
//! ```
//!
//! As over a socket, the Region of the client is the Region, and an access key of twelve digits is the account. Any endpoint
//! works, also one with the prefix `data-`. The tests of `examples/cargo_test` use such a client.
//!
//! The SDK's timeouts of an attempt and of an operation apply. A call that the SDK gives up is dropped, as if its connection
//! were closed: it is done in whole or not at all.
//!
//! This module depends on the traits of `aws-smithy-runtime-api` alone. The SDK uses an [`InProcess`] like this:
//!
//! ```
//! use aws_smithy_runtime_api::client::{http::HttpConnector, orchestrator::HttpRequest};
//! use sd_backend_memory::MemoryRegistry;
//! use sd_core::CloudMap;
//! use sd_http::aws_sdk::InProcess;
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let client = InProcess::new(CloudMap::new(MemoryRegistry::new()));
//! let request = http::Request::post("https://servicediscovery.eu-west-1.amazonaws.com/")
//!     .header("X-Amz-Target", "Route53AutoNaming_v20170314.ListNamespaces");
//! let response = client.call(HttpRequest::try_from(request.body("{}".into())?)?).await?;
//! assert_eq!(response.body().bytes(), Some(br#"{"Namespaces":[]}"#.as_slice()));
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! # }).unwrap();
//! ```

use std::sync::{Arc, OnceLock};

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
        runtime_components::RuntimeComponents,
    },
};
use http_body_util::BodyExt;
use sd_core::CloudMap;

use crate::service::CloudMapService;

/// An HTTP client of aws-sdk-rust for a Cloud Map in this process. Clones call the same one.
///
/// It takes every request for one of Cloud Map: give it to clients of Cloud Map only.
#[derive(Clone, Debug)]
pub struct InProcess {
    service: CloudMapService,
}

impl InProcess {
    /// The client for this Cloud Map. Requests without an account are for 123456789012. A service with [another
    /// default](CloudMapService::with_default_scope) becomes a client by `From`.
    #[must_use]
    pub fn new(cloud_map: CloudMap) -> Self {
        Self::from(CloudMapService::new(cloud_map))
    }
}

impl From<CloudMapService> for InProcess {
    fn from(service: CloudMapService) -> Self {
        Self { service }
    }
}

impl HttpClient for InProcess {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for InProcess {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(exchange(self.service.clone(), request))
    }
}

/// Answers a request.
///
/// # Errors
/// The request is invalid, or its body fails. Over a socket, neither would be answered.
async fn exchange(service: CloudMapService, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
    let failure: Arc<OnceLock<BoxError>> = Arc::default();
    let failed = Arc::clone(&failure);
    let request = request.map(|body| body.map_err(move |error| drop(failed.set(error))));
    let response = service.answer(request).await.map(Into::into);
    if let Some(error) = Arc::into_inner(failure).and_then(OnceLock::into_inner) {
        return Err(ConnectorError::io(error));
    }
    HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
}
