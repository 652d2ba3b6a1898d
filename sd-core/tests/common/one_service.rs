//! A service that is created in an engine of its own, to see what comes of the request.

use sd_core::{
    Error, Mode, model::RecordType::A, request::CreateServiceRequest, response::ServiceDescription,
};

use super::{Engine, dns};

pub(crate) const PRIVATE: &str = "app.local";
pub(crate) const HTTP: &str = "api";

/// Creates `request` in the namespace of this name, in a fresh engine that has one namespace of each type.
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
