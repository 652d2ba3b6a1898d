//! Creates a service in its own engine, to test one request.

use sd_core::{
    Error, Mode, model::RecordType::A, request::CreateServiceRequest, response::ServiceDescription,
};

use super::{Engine, dns};

pub(crate) const PRIVATE: &str = "app.local";
pub(crate) const HTTP: &str = "api";

/// Sends `request` for the namespace with this name to a new engine with a private and an HTTP namespace.
pub(crate) fn create_in(
    mode: Mode,
    namespace: &str,
    request: CreateServiceRequest,
) -> Result<ServiceDescription, Error> {
    let engine = if mode == Mode::Strict { Engine::strict() } else { Engine::new() };
    let namespaces = [engine.private(PRIVATE), engine.http(HTTP)];
    let namespace = namespaces.iter().find(|found| found.name.as_str() == namespace).unwrap();
    engine.api.create_service(request.with_namespace_id(&namespace.id))
}

pub(crate) fn create(namespace: &str, request: CreateServiceRequest) -> Result<ServiceDescription, Error> {
    create_in(Mode::Lenient, namespace, request)
}

pub(crate) fn web() -> CreateServiceRequest {
    CreateServiceRequest::new("web")
}

pub(crate) fn web_a() -> CreateServiceRequest {
    web().with_dns_config(dns(&[A]))
}
