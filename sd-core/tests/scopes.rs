//! Accounts and Regions: no operation sees, finds or changes anything of another scope.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use std::{fmt::Debug, sync::Arc, time::Duration};

use common::{Engine, code, custom_check, dns, dns_service, meeting::Shared, registration};
use sd_backend_memory::MemoryRegistry;
use sd_core::{
    Action, Error, ErrorCode, Mode, Quotas, Scope, State, SyncCloudMap, SyncScopedCloudMap, Timing,
    dns::{Answer, RecordData, View},
    model::{DnsName, Namespace, OperationId, OperationTargets, RecordType::A, Service},
    request::*,
    response::OperationStarted,
    settings::{Quota, RATES},
};

/// The value of attributes, tags and descriptions in the home scope.
const SECRET: &str = "secret";

fn home() -> Scope {
    Scope::default()
}

/// The other scopes: each differs from home in the account or in the Region.
fn others() -> [Scope; 2] {
    [("123456789012", "eu-west-1"), ("210987654321", "us-east-1")]
        .map(|(account, region)| Scope::parse(account, region).unwrap())
}

/// One of everything that a scope can hold. Each scope gets its own, with equal content.
struct Resources {
    scope: Scope,
    /// The value of its attributes, tags and descriptions.
    mark: &'static str,
    http: Arc<Namespace>,
    private: Arc<Namespace>,
    public: Arc<Namespace>,
    /// A namespace without services.
    empty: Arc<Namespace>,
    /// A service in the HTTP namespace with a custom check, attributes and the instance `i`.
    web: Arc<Service>,
    /// A service in the private namespace with the instance `i`.
    dns: Arc<Service>,
    /// A service without instances.
    unused: Arc<Service>,
    operation: OperationId,
    /// A failed creation, which is listed although its namespace does not exist.
    failed: OperationId,
}

/// Requests to create namespaces, all with one token.
fn create_http(name: &str, mark: &str) -> CreateHttpNamespaceRequest {
    CreateHttpNamespaceRequest::new(name)
        .with_creator_request_id("token")
        .with_description(mark)
        .with_tags([Tag::new("tag", mark)])
}

fn create_private(mark: &str) -> CreatePrivateDnsNamespaceRequest {
    let request = CreatePrivateDnsNamespaceRequest::new("app.local", "vpc-1");
    request.with_creator_request_id("token").with_description(mark)
}

fn create_public(mark: &str) -> CreatePublicDnsNamespaceRequest {
    CreatePublicDnsNamespaceRequest::new("example.com")
        .with_creator_request_id("token")
        .with_description(mark)
}

fn create_web(namespace: &str, mark: &str) -> CreateServiceRequest {
    CreateServiceRequest::new("web")
        .with_namespace_id(namespace)
        .with_creator_request_id("token")
        .with_description(mark)
        .with_tags([Tag::new("tag", mark)])
        .with_health_check_custom_config(custom_check())
}

impl Resources {
    fn create(engine: &Engine, scope: Scope, mark: &'static str) -> Self {
        let api = &engine.cloud_map.at(scope.clone());
        let namespace = |started: OperationStarted| {
            let request = GetOperationRequest::new(&started.operation_id);
            let operation = api.get_operation(&request).unwrap();
            let OperationTargets::Namespace(id) = &operation.targets else { panic!("{operation:?}") };
            api.get_namespace(GetNamespaceRequest::new(id.as_str())).unwrap().namespace
        };
        let http = namespace(api.create_http_namespace(create_http("app", mark)).unwrap());
        let private = namespace(api.create_private_dns_namespace(create_private(mark)).unwrap());
        let public = namespace(api.create_public_dns_namespace(create_public(mark)).unwrap());
        let empty = namespace(api.create_http_namespace(create_http("empty", mark)).unwrap());
        let service = |request| api.create_service(request).unwrap().service;
        let web = service(create_web(http.id.as_str(), mark));
        let dns = service(dns_service(&private, "dns", dns(&[A])));
        let unused = service(CreateServiceRequest::new("unused").with_namespace_id(&http.id));
        let attributes = UpdateServiceAttributesRequest::new(&web.id).with_attribute("of", mark);
        api.update_service_attributes(attributes).unwrap();
        let attributes = [("AWS_INSTANCE_IPV4", "10.0.0.1"), ("of", mark)];
        api.register_instance(registration(&dns, "i", &attributes)).unwrap();
        let started = api.register_instance(registration(&web, "i", &attributes)).unwrap();
        engine.tick();
        let operation = started.operation_id;
        let again = CreatePrivateDnsNamespaceRequest::new("app.local", "vpc-1");
        let failed = api.create_private_dns_namespace(again).unwrap().operation_id;
        engine.tick();
        Self { scope, mark, http, private, public, empty, web, dns, unused, operation, failed }
    }

    /// The texts that show that something is in this scope: ids, and the mark.
    fn traces(&self) -> Vec<String> {
        let namespaces = [&self.http, &self.private, &self.public, &self.empty];
        let mut traces: Vec<_> = namespaces.iter().map(|namespace| namespace.id.to_string()).collect();
        traces.extend([&self.web, &self.dns, &self.unused].iter().map(|service| service.id.to_string()));
        traces.extend([&self.operation, &self.failed].map(ToString::to_string));
        traces.push(self.mark.to_owned());
        traces
    }
}

/// How requests name a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Id,
    Arn,
}

fn told<T: Debug>(result: Result<T, Error>) -> Result<String, Error> {
    result.map(|answer| format!("{answer:?}"))
}

/// Calls an operation on the contents of `of`. Every operation has a case.
fn ask(action: Action, api: &SyncScopedCloudMap, of: &Resources, by: By) -> Result<String, Error> {
    let named = |id: &str, arn: sd_core::model::Arn| match by {
        By::Id => id.to_owned(),
        By::Arn => arn.to_string(),
    };
    let namespace = |namespace: &Namespace| named(namespace.id.as_str(), namespace.arn());
    let service = |service: &Service| named(service.id.as_str(), service.arn());
    // Tags are for ARNs only, of a namespace or of a service. The owner may be given; by default it is the caller.
    let (tagged, http_name, owner) = match by {
        By::Id => (of.http.arn(), of.http.http_name.to_string(), None),
        By::Arn => (of.web.arn(), of.http.arn().to_string(), Some(of.scope.account().to_string())),
    };
    let tagged = tagged.to_string();
    let (web, i) = (service(&of.web), "i");
    let change = || DnsNamespaceChange::default().with_description("changed");
    match action {
        Action::CreateHttpNamespace => told(api.create_http_namespace(create_http("app", of.mark))),
        Action::CreatePrivateDnsNamespace => told(api.create_private_dns_namespace(create_private(of.mark))),
        Action::CreatePublicDnsNamespace => told(api.create_public_dns_namespace(create_public(of.mark))),
        Action::CreateService => told(api.create_service(create_web(&namespace(&of.http), of.mark))),
        Action::DeleteNamespace => {
            told(api.delete_namespace(DeleteNamespaceRequest::new(namespace(&of.empty))))
        }
        Action::DeleteService => told(api.delete_service(DeleteServiceRequest::new(service(&of.unused)))),
        Action::DeleteServiceAttributes => {
            let keys = vec!["of".to_owned()];
            told(
                api.delete_service_attributes(DeleteServiceAttributesRequest::new(web).with_attributes(keys)),
            )
        }
        Action::DeregisterInstance => told(api.deregister_instance(DeregisterInstanceRequest::new(web, i))),
        Action::RegisterInstance => {
            told(api.register_instance(RegisterInstanceRequest::new(web, i).with_attribute("a", "changed")))
        }
        Action::TagResource => {
            let tags = [Tag::new("tag", "changed")];
            told(api.tag_resource(TagResourceRequest::new(tagged).with_tags(tags)))
        }
        Action::UntagResource => {
            let keys = vec!["tag".to_owned()];
            told(api.untag_resource(UntagResourceRequest::new(tagged).with_tag_keys(keys)))
        }
        Action::UpdateHttpNamespace => {
            let request = UpdateHttpNamespaceRequest::new(namespace(&of.http));
            told(api.update_http_namespace(request.with_namespace(HttpNamespaceChange::new("changed"))))
        }
        Action::UpdateInstanceCustomHealthStatus => {
            let request = UpdateInstanceCustomHealthStatusRequest::new(web, i, "UNHEALTHY");
            told(api.update_instance_custom_health_status(request))
        }
        Action::UpdatePrivateDnsNamespace => {
            let request = UpdatePrivateDnsNamespaceRequest::new(namespace(&of.private));
            told(api.update_private_dns_namespace(request.with_namespace(change())))
        }
        Action::UpdatePublicDnsNamespace => {
            let request = UpdatePublicDnsNamespaceRequest::new(namespace(&of.public));
            told(api.update_public_dns_namespace(request.with_namespace(change())))
        }
        Action::UpdateService => {
            let request = UpdateServiceRequest::new(service(&of.dns));
            told(api.update_service(request.with_service(ServiceChange::default())))
        }
        Action::UpdateServiceAttributes => {
            let request = UpdateServiceAttributesRequest::new(web).with_attribute("of", "changed");
            told(api.update_service_attributes(request))
        }
        Action::DiscoverInstances => {
            let mut request = DiscoverInstancesRequest::new(http_name, "web");
            request.owner_account = owner;
            told(api.discover_instances(&request))
        }
        Action::DiscoverInstancesRevision => {
            let mut request = DiscoverInstancesRevisionRequest::new(http_name, "web");
            request.owner_account = owner;
            told(api.discover_instances_revision(&request))
        }
        Action::GetInstance => told(api.get_instance(GetInstanceRequest::new(web, i))),
        Action::GetInstancesHealthStatus => {
            told(api.get_instances_health_status(GetInstancesHealthStatusRequest::new(web)))
        }
        Action::GetNamespace => told(api.get_namespace(GetNamespaceRequest::new(namespace(&of.http)))),
        Action::GetOperation => {
            let mut request = GetOperationRequest::new(of.operation.as_str());
            request.owner_account = owner;
            told(api.get_operation(&request))
        }
        Action::GetService => told(api.get_service(GetServiceRequest::new(web))),
        Action::GetServiceAttributes => {
            told(api.get_service_attributes(GetServiceAttributesRequest::new(web)))
        }
        Action::ListInstances => told(api.list_instances(ListInstancesRequest::new(web))),
        Action::ListNamespaces => told(api.list_namespaces(ListNamespacesRequest::new())),
        Action::ListOperations => {
            let of_service = Filter::eq("SERVICE_ID", web);
            let of_namespace = Filter::eq("NAMESPACE_ID", namespace(&of.http));
            let list = |filters: Vec<Filter>| {
                told(api.list_operations(ListOperationsRequest::new().with_filters(filters)))
            };
            Ok([list(vec![])?, list(vec![of_service])?, list(vec![of_namespace])?].concat())
        }
        Action::ListServices => {
            let of_namespace = Filter::eq("NAMESPACE_ID", namespace(&of.http));
            let list = |filters: Vec<Filter>| {
                told(api.list_services(ListServicesRequest::new().with_filters(filters)))
            };
            Ok([list(vec![])?, list(vec![of_namespace])?].concat())
        }
        Action::ListTagsForResource => {
            told(api.list_tags_for_resource(ListTagsForResourceRequest::new(tagged)))
        }
    }
}

/// The error of an operation that names something in another scope; `None` if the operation names nothing.
fn refusal(action: Action) -> Option<ErrorCode> {
    match action {
        Action::CreateHttpNamespace
        | Action::CreatePrivateDnsNamespace
        | Action::CreatePublicDnsNamespace
        | Action::ListNamespaces
        | Action::ListOperations
        | Action::ListServices => None,
        Action::CreateService
        | Action::DeleteNamespace
        | Action::DiscoverInstances
        | Action::DiscoverInstancesRevision
        | Action::GetNamespace
        | Action::UpdateHttpNamespace
        | Action::UpdatePrivateDnsNamespace
        | Action::UpdatePublicDnsNamespace => Some(ErrorCode::NamespaceNotFound),
        Action::GetInstance => Some(ErrorCode::InstanceNotFound),
        Action::GetOperation => Some(ErrorCode::OperationNotFound),
        Action::ListTagsForResource | Action::TagResource | Action::UntagResource => {
            Some(ErrorCode::ResourceNotFoundException)
        }
        Action::DeleteService
        | Action::DeleteServiceAttributes
        | Action::DeregisterInstance
        | Action::GetInstancesHealthStatus
        | Action::GetService
        | Action::GetServiceAttributes
        | Action::ListInstances
        | Action::RegisterInstance
        | Action::UpdateInstanceCustomHealthStatus
        | Action::UpdateService
        | Action::UpdateServiceAttributes => Some(ErrorCode::ServiceNotFound),
    }
}

/// Whether a scope is the same in both states.
fn is_unchanged(scope: &Scope, before: &State, after: &State) -> bool {
    before.diff(after).iter().all(|(changed, _)| changed != scope)
}

fn state(engine: &Engine) -> State {
    State::clone(&engine.cloud_map.cloud_map().state())
}

#[test]
fn no_operation_reaches_into_another_scope() {
    for scope in others() {
        for action in Action::ALL {
            for by in [By::Id, By::Arn] {
                let engine = Engine::new();
                let resources = Resources::create(&engine, home(), SECRET);
                let (before, operations) =
                    (state(&engine), told(engine.api.list_operations(ListOperationsRequest::new())));
                let answer = ask(*action, &engine.cloud_map.at(scope.clone()), &resources, by);
                match (refusal(*action), answer) {
                    (Some(expected), answer) => assert_eq!(code(answer), expected, "{action} {by:?}"),
                    (None, Ok(answer)) => {
                        for trace in resources.traces() {
                            assert!(!answer.contains(&trace), "{action} tells {trace}: {answer}");
                        }
                    }
                    (None, Err(error)) => panic!("{action}: {error}"),
                }
                assert!(is_unchanged(&home(), &before, &state(&engine)), "{action} {by:?}");
                assert_eq!(
                    told(engine.api.list_operations(ListOperationsRequest::new())).unwrap(),
                    operations.unwrap(),
                    "{action}"
                );
            }
        }
    }
}

/// The requests of the other tests succeed at home. This shows that the scope is the reason for their refusal elsewhere, and
/// that reads at home answer what they must not answer elsewhere.
#[test]
fn the_same_requests_are_answered_in_their_own_scope() {
    let engine = Engine::new();
    let resources = Resources::create(&engine, home(), SECRET);
    let silent = [Action::DiscoverInstancesRevision, Action::GetInstancesHealthStatus];
    for action in Action::ALL {
        for by in [By::Id, By::Arn] {
            let fork = MemoryRegistry::fork(engine.cloud_map.cloud_map().cell());
            let fork = SyncCloudMap::builder(fork).clock(Arc::clone(&engine.clock)).build_sync().at(home());
            let answer = ask(*action, &fork, &resources, by);
            let answer = answer.unwrap_or_else(|error| panic!("{action} {by:?}: {error}"));
            let is_read = ["Get", "List", "Discover"].iter().any(|verb| action.as_str().starts_with(verb));
            if is_read && !silent.contains(action) {
                assert!(resources.traces().iter().any(|trace| answer.contains(trace)), "{action}: {answer}");
            }
        }
    }
}

#[test]
fn equal_names_and_tokens_in_two_scopes_are_independent() {
    for scope in others() {
        for action in Action::ALL {
            for by in [By::Id, By::Arn] {
                let engine = Engine::new();
                let resources = Resources::create(&engine, home(), SECRET);
                let twin = Resources::create(&engine, scope.clone(), "other");
                let ours = twin.traces();
                assert!(resources.traces().iter().all(|trace| !ours.contains(trace)), "ids of their own");
                assert_eq!(resources.http.http_name, twin.http.http_name, "a name that is not taken there");

                let before = state(&engine);
                let api = engine.cloud_map.at(scope.clone());
                // Requests for their own resources succeed, and the answer has nothing of home.
                let answer = ask(*action, &api, &twin, by).unwrap();
                for trace in resources.traces() {
                    assert!(!answer.contains(&trace), "{action} tells {trace}: {answer}");
                }
                // A name that both scopes have finds their own resource.
                match ask(*action, &api, &resources, by) {
                    Ok(answer) => {
                        let told = resources.traces().into_iter().find(|trace| answer.contains(trace));
                        assert_eq!(told, None, "{action}: {answer}");
                    }
                    // The name is taken by their own namespace.
                    Err(Error::NamespaceAlreadyExists { namespace_id, .. }) => {
                        assert_eq!(namespace_id, twin.http.id);
                    }
                    Err(error) => assert_eq!(Some(error.code()), refusal(*action), "{action} {by:?}"),
                }
                assert!(is_unchanged(&home(), &before, &state(&engine)), "{action} {by:?}");
                assert_eq!(twin.scope, scope);
            }
        }
    }
}

/// Ids are random, but sequential ids may be equal in two scopes.
#[test]
fn an_arn_of_another_scope_does_not_name_an_own_resource_with_the_same_id() {
    for scope in others() {
        for action in Action::ALL {
            let shared = Shared::default();
            let [engine, other] = [(); 2].map(|()| Engine::over(shared.clone(), Mode::Lenient));
            let resources = Resources::create(&engine, home(), SECRET);
            // Ids of operations contain the time.
            other.clock.advance(Duration::from_secs(1));
            let twin = Resources::create(&other, scope.clone(), "other");
            assert_eq!((&twin.http.id, &twin.web.id), (&resources.http.id, &resources.web.id));

            let before = state(&engine);
            let api = other.cloud_map.at(scope.clone());
            ask(*action, &api, &twin, By::Arn).unwrap();
            if let Some(expected) = refusal(*action) {
                assert_eq!(code(ask(*action, &api, &resources, By::Arn)), expected, "{action}");
            }
            assert!(is_unchanged(&home(), &before, &state(&engine)), "{action}");
        }
    }
}

#[test]
fn operations_under_way_belong_to_their_scope() {
    let engine = Engine::timed(Timing::aws());
    let scopes = [home()].into_iter().chain(others()).map(|scope| engine.cloud_map.at(scope));
    let scopes: Vec<_> = scopes.collect();
    let create = || CreateHttpNamespaceRequest::new("app");
    let started: Vec<_> = scopes.iter().map(|api| api.create_http_namespace(create()).unwrap()).collect();
    for (i, api) in scopes.iter().enumerate() {
        match api.create_http_namespace(create()).unwrap_err() {
            Error::DuplicateRequest { duplicate_operation_id, .. } => {
                assert_eq!(duplicate_operation_id, started[i].operation_id, "its own");
            }
            other => panic!("{other:?}"),
        }
        let listed = api.list_operations(ListOperationsRequest::new()).unwrap().items;
        assert_eq!(listed.iter().map(|item| &item.id).collect::<Vec<_>>(), [&started[i].operation_id]);
        for (j, other) in started.iter().enumerate() {
            let found = api.get_operation(GetOperationRequest::new(&other.operation_id));
            match found {
                Ok(operation) => assert_eq!((i, &operation.scope), (j, api.scope())),
                Err(error) => assert_eq!((i == j, error.code()), (false, ErrorCode::OperationNotFound)),
            }
        }
    }
    engine.clock.advance(Timing::aws().operation());
    for api in &scopes {
        let listed = api.list_namespaces(ListNamespacesRequest::new()).unwrap().items;
        assert_eq!(listed.iter().map(|item| &item.namespace.scope).collect::<Vec<_>>(), [api.scope()]);
    }
}

#[test]
fn quotas_and_rates_are_per_scope() {
    let quotas = Quotas::aws().with(Quota::Namespaces, 1).with(Quota::InstancesPerService, 1);
    let engine = Engine::with_quotas(quotas.with(Quota::InstancesPerNamespace, 2));
    let scopes = [home()].into_iter().chain(others()).map(|scope| engine.cloud_map.at(scope));
    for api in scopes {
        let limited = |result: Result<OperationStarted, Error>| {
            assert_eq!(code(result), ErrorCode::ResourceLimitExceeded, "{}", api.scope());
        };
        let app = api.create_http_namespace(CreateHttpNamespaceRequest::new("app")).unwrap();
        limited(api.create_http_namespace(CreateHttpNamespaceRequest::new("more")));
        let services = ["a", "b", "c"].map(|name| {
            let request = CreateServiceRequest::new(name).with_namespace_id(&app.namespace_id);
            api.create_service(request).unwrap().service
        });
        api.register_instance(registration(&services[0], "i", &[])).unwrap();
        limited(api.register_instance(registration(&services[0], "j", &[])));
        api.register_instance(registration(&services[1], "i", &[])).unwrap();
        limited(api.register_instance(registration(&services[2], "i", &[])));

        for rate in RATES {
            let asked = || match rate.action {
                Action::DiscoverInstances => {
                    told(api.discover_instances(DiscoverInstancesRequest::new("app", "a")))
                }
                Action::DiscoverInstancesRevision => {
                    told(api.discover_instances_revision(DiscoverInstancesRevisionRequest::new("app", "a")))
                }
                other => panic!("no request for {other}"),
            };
            for _ in 0..rate.burst {
                asked().unwrap();
            }
            assert_eq!(code(asked()), ErrorCode::RequestLimitExceeded, "{} {}", rate.action, api.scope());
        }
    }
}

#[test]
fn a_view_of_one_scope_resolves_its_own_zones() {
    let engine = Engine::new();
    let name = DnsName::parse("web.app.local").unwrap();
    let address = |i: usize| format!("10.0.0.{i}");
    let scopes: Vec<_> = [home()].into_iter().chain(others()).collect();
    let mut services = Vec::new();
    for (i, scope) in scopes.iter().enumerate() {
        let engine = Engine {
            api: engine.cloud_map.at(scope.clone()),
            cloud_map: engine.cloud_map.clone(),
            clock: Arc::clone(&engine.clock),
        };
        let service = engine.dns_service(&engine.private("app.local"), "web", &[A]);
        engine.register(&service, "i", &[("AWS_INSTANCE_IPV4", &address(i))]);
        services.push((engine.api, service));
    }
    let resolve = |scopes: &[Scope]| {
        let mut view = View::default();
        view.scopes = scopes.to_vec();
        match engine.cloud_map.cloud_map().resolve(&view, &name, A) {
            Answer::Records(records) => {
                let data = records.iter().map(|record| match &record.data {
                    RecordData::A(address) => address.to_string(),
                    other => panic!("{other:?}"),
                });
                Ok(data.collect::<Vec<_>>())
            }
            other => Err(other),
        }
    };
    for (i, scope) in scopes.iter().enumerate() {
        assert_eq!(resolve(std::slice::from_ref(scope)).unwrap(), [address(i)], "{scope}");
    }
    let nobodys = Scope::parse("000000000000", "us-east-1").unwrap();
    assert_eq!(resolve(&[nobodys]), Err(Answer::Refused));
    assert_eq!(resolve(&[]).unwrap(), [address(0)], "of all, the oldest zone answers");
    assert_eq!(resolve(&scopes[1..]).unwrap(), [address(1)]);

    let (api, service) = &services[0];
    api.deregister_instance(DeregisterInstanceRequest::new(&service.id, "i")).unwrap();
    assert!(matches!(resolve(&scopes[..1]), Err(Answer::NxDomain { .. })));
    for (i, scope) in scopes.iter().enumerate().skip(1) {
        assert_eq!(resolve(std::slice::from_ref(scope)).unwrap(), [address(i)], "{scope}");
    }
}
