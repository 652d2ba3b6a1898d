//! The operations of the API: one table, which generates the typed methods of both handles and the doors' dispatch.

use std::fmt;

/// Passes the table of operations to a macro.
///
/// A row reads `Name method Request => Response: planner`.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_action {
    ($callback:ident) => {
        $callback! {
            write {
                CreateHttpNamespace create_http_namespace CreateHttpNamespaceRequest => OperationStarted: namespaces::create_http,
                CreatePrivateDnsNamespace create_private_dns_namespace CreatePrivateDnsNamespaceRequest => OperationStarted: namespaces::create_private_dns,
                CreatePublicDnsNamespace create_public_dns_namespace CreatePublicDnsNamespaceRequest => OperationStarted: namespaces::create_public_dns,
                CreateService create_service CreateServiceRequest => ServiceDescription: services::create,
                DeleteNamespace delete_namespace DeleteNamespaceRequest => OperationStarted: namespaces::delete,
                DeleteService delete_service DeleteServiceRequest => (): services::delete,
                DeleteServiceAttributes delete_service_attributes DeleteServiceAttributesRequest => (): service_attributes::delete,
                DeregisterInstance deregister_instance DeregisterInstanceRequest => OperationStarted: instances::deregister,
                RegisterInstance register_instance RegisterInstanceRequest => OperationStarted: instances::register,
                TagResource tag_resource TagResourceRequest => (): tags::tag,
                UntagResource untag_resource UntagResourceRequest => (): tags::untag,
                UpdateHttpNamespace update_http_namespace UpdateHttpNamespaceRequest => OperationStarted: update_namespace::http,
                UpdateInstanceCustomHealthStatus update_instance_custom_health_status UpdateInstanceCustomHealthStatusRequest => (): instance_health::update,
                UpdatePrivateDnsNamespace update_private_dns_namespace UpdatePrivateDnsNamespaceRequest => OperationStarted: update_namespace::private_dns,
                UpdatePublicDnsNamespace update_public_dns_namespace UpdatePublicDnsNamespaceRequest => OperationStarted: update_namespace::public_dns,
                UpdateService update_service UpdateServiceRequest => OperationStarted: update_service::update,
                UpdateServiceAttributes update_service_attributes UpdateServiceAttributesRequest => (): service_attributes::update,
            }
            read {
                DiscoverInstances discover_instances DiscoverInstancesRequest => DiscoveredInstances: discovery::discover,
                DiscoverInstancesRevision discover_instances_revision DiscoverInstancesRevisionRequest => DiscoveredRevision: discovery::revision,
                GetInstance get_instance GetInstanceRequest => InstanceDescription: instances::get,
                GetInstancesHealthStatus get_instances_health_status GetInstancesHealthStatusRequest => Page<InstanceHealth>: instance_health::get,
                GetNamespace get_namespace GetNamespaceRequest => NamespaceDescription: namespaces::get,
                GetOperation get_operation GetOperationRequest => Arc<Operation>: operations::get,
                GetService get_service GetServiceRequest => ServiceDescription: services::get,
                GetServiceAttributes get_service_attributes GetServiceAttributesRequest => ServiceAttributesDescription: service_attributes::get,
                ListInstances list_instances ListInstancesRequest => InstancePage: instances::list,
                ListNamespaces list_namespaces ListNamespacesRequest => Page<NamespaceDescription>: namespaces::list,
                ListOperations list_operations ListOperationsRequest => Page<OperationSummary>: operations::list,
                ListServices list_services ListServicesRequest => Page<ServiceDescription>: services::list,
                ListTagsForResource list_tags_for_resource ListTagsForResourceRequest => Tags: tags::list,
            }
        }
    };
}

macro_rules! declare {
    (
        write { $($write:ident $wm:ident $wq:ident => $wr:tt: $wp:path,)* }
        read { $($read:ident $rm:ident $rq:ident => $rr:ty: $rp:path,)* }
    ) => {
        /// An operation of the API, by its name in the API.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "the names are the API's own")]
        #[allow(clippy::exhaustive_enums, reason = "a door must answer every operation of the API")]
        pub enum Action {
            $($write,)*
            $($read,)*
        }

        impl Action {
            /// All operations: writes, then reads, each in alphabetical order.
            pub const ALL: &[Self] = &[$(Self::$write,)* $(Self::$read,)*];

            /// The API's spelling: `CreateService`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$write => stringify!($write),)*
                    $(Self::$read => stringify!($read),)*
                }
            }

            /// The operation with this name, which is case-sensitive.
            #[must_use]
            pub fn parse(name: &str) -> Option<Self> {
                match name {
                    $(stringify!($write) => Some(Self::$write),)*
                    $(stringify!($read) => Some(Self::$read),)*
                    _ => None,
                }
            }

            /// Whether it starts an operation that ends in SUCCESS or FAIL: those whose response is an
            /// `OperationStarted`.
            #[must_use]
            pub fn starts_operation(self) -> bool {
                match self {
                    $(Self::$write => starts_operation!($wr),)*
                    $(Self::$read => false,)*
                }
            }
        }
    };
}

/// Whether this is the response of an operation that is started.
macro_rules! starts_operation {
    (OperationStarted) => {
        true
    };
    ($response:tt) => {
        false
    };
}

for_each_action!(declare);

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_has_thirty_operations() {
        assert_eq!(Action::ALL.len(), 30);
        for action in Action::ALL {
            assert_eq!(Action::parse(action.as_str()), Some(*action));
        }
        assert_eq!(Action::parse("createservice"), None);
    }
}
