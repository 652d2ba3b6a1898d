//! aws-sdk-rust without a port (feature `aws-sdk`): the SDK's HTTP client is a call into this process.
//!
//! A client of the SDK whose `http_client` is an [`InProcess`] asks the Cloud Map that it was made of. Nothing listens, no
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
//! As over a socket, the Region and an access key of twelve digits say where the resources are. Endpoints may be any, also
//! those with the prefix `data-`. The crate `examples/cargo_test` has tests that work so.
//!
//! Of timeouts, those of an attempt and of an operation apply; there is no connection that could time out. A call that the
//! SDK gives up is dropped, as if its connection were closed: it is done in whole or not at all.
//!
//! This module stands on `aws-smithy-runtime-api` alone, which is to aws-sdk-rust what `tower-service` is to servers: the
//! traits. What the SDK does with an [`InProcess`], without the SDK:
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

/// The HTTP client of aws-sdk-rust for a Cloud Map in this process. Clones ask the same one.
///
/// It answers what Cloud Map's server would, to any request: it is for clients of Cloud Map, not for those of other services.
#[derive(Clone, Debug)]
pub struct InProcess {
    service: CloudMapService,
}

impl InProcess {
    /// The client for this handle. A request that tells neither account nor Region is for 123456789012 in us-east-1; a
    /// service with [another default](CloudMapService::with_default_scope) can be turned into a client as well.
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

/// A request that cannot be made is the caller's fault, a body that fails is one of input and output: neither is an answer,
/// and over a socket neither would get one.
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
