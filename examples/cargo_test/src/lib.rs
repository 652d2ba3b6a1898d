//! An app that registers itself with AWS Cloud Map and finds its peers there.
//!
//! The app takes a client of the AWS SDK and knows nothing of tests. `tests/peers.rs` gives it a client for tests.

use std::{net::SocketAddr, time::Duration};

use aws_sdk_servicediscovery::{
    Client,
    types::{HealthStatusFilter, HttpInstanceSummary, OperationStatus},
};

/// The pause between two calls of GetOperation.
const PAUSE: Duration = Duration::from_millis(500);

/// The instances of one service.
#[derive(Clone, Debug)]
pub struct Peers {
    client: Client,
    namespace: String,
    service: String,
}

/// Why an instance did not join its peers.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// A call failed.
    #[error(transparent)]
    Sdk(#[from] aws_sdk_servicediscovery::Error),
    /// The operation failed.
    #[error("Cloud Map did not register the instance: {0}")]
    Failed(String),
}

impl Peers {
    /// The instances of a service, by the names that `DiscoverInstances` takes.
    pub fn new(client: Client, namespace: &str, service: &str) -> Self {
        Self { client, namespace: namespace.to_owned(), service: service.to_owned() }
    }

    /// Registers an instance, and waits until the operation is done.
    pub async fn join(&self, service_id: &str, id: &str, address: SocketAddr) -> Result<(), JoinError> {
        let registration = self
            .client
            .register_instance()
            .service_id(service_id)
            .instance_id(id)
            .attributes("AWS_INSTANCE_IPV4", address.ip().to_string())
            .attributes("AWS_INSTANCE_PORT", address.port().to_string())
            .send()
            .await
            .map_err(aws_sdk_servicediscovery::Error::from)?;
        loop {
            let operation = self
                .client
                .get_operation()
                .set_operation_id(registration.operation_id.clone())
                .send()
                .await
                .map_err(aws_sdk_servicediscovery::Error::from)?
                .operation;
            let status = operation.as_ref().and_then(|operation| operation.status.as_ref());
            match status {
                Some(OperationStatus::Pending | OperationStatus::Submitted) => {
                    tokio::time::sleep(PAUSE).await
                }
                Some(OperationStatus::Success) => return Ok(()),
                _ => {
                    let reason = operation.and_then(|operation| operation.error_message);
                    return Err(JoinError::Failed(reason.unwrap_or_default()));
                }
            }
        }
    }

    /// The addresses of the healthy instances, in random order.
    pub async fn addresses(&self) -> Result<Vec<SocketAddr>, aws_sdk_servicediscovery::Error> {
        let found = self
            .client
            .discover_instances()
            .namespace_name(&self.namespace)
            .service_name(&self.service)
            .health_status(HealthStatusFilter::Healthy)
            .send()
            .await?;
        Ok(found.instances().iter().filter_map(address).collect())
    }
}

fn address(instance: &HttpInstanceSummary) -> Option<SocketAddr> {
    let attributes = instance.attributes()?;
    let ip = attributes.get("AWS_INSTANCE_IPV4")?.parse().ok()?;
    Some(SocketAddr::new(ip, attributes.get("AWS_INSTANCE_PORT")?.parse().ok()?))
}
