//! The operations of the API as methods of both handles, made from the table of operations.

use std::sync::Arc;

use super::{ScopedCloudMap, SyncScopedCloudMap, blocking::at_once, commit::WriteCall};
use crate::{
    api::{
        error::Error,
        request::{
            CreateHttpNamespaceRequest, CreatePrivateDnsNamespaceRequest, CreatePublicDnsNamespaceRequest,
            CreateServiceRequest, DeleteNamespaceRequest, DeleteServiceAttributesRequest,
            DeleteServiceRequest, DeregisterInstanceRequest, DiscoverInstancesRequest,
            DiscoverInstancesRevisionRequest, GetInstanceRequest, GetInstancesHealthStatusRequest,
            GetNamespaceRequest, GetOperationRequest, GetServiceAttributesRequest, GetServiceRequest,
            ListInstancesRequest, ListNamespacesRequest, ListOperationsRequest, ListServicesRequest,
            ListTagsForResourceRequest, RegisterInstanceRequest, TagResourceRequest, UntagResourceRequest,
            UpdateHttpNamespaceRequest, UpdateInstanceCustomHealthStatusRequest,
            UpdatePrivateDnsNamespaceRequest, UpdatePublicDnsNamespaceRequest,
            UpdateServiceAttributesRequest, UpdateServiceRequest,
        },
        response::{
            DiscoveredInstances, DiscoveredRevision, InstanceDescription, InstanceHealth, InstancePage,
            NamespaceDescription, OperationStarted, OperationSummary, Page, ServiceAttributesDescription,
            ServiceDescription,
        },
    },
    model::{Operation, Tags, action::Action},
    ops::{
        discovery, instance_health, instances, namespaces, operations, service_attributes, services, tags,
        update_namespace, update_service,
    },
};

macro_rules! methods {
    (
        write { $($write:ident $wm:ident $wq:ident => $wr:ty: $wp:path,)* }
        read { $($read:ident $rm:ident $rq:ident => $rr:ty: $rp:path,)* }
    ) => {
        impl ScopedCloudMap {
            $(
                #[doc = concat!("[`", stringify!($write), "`](https://docs.aws.amazon.com/cloud-map/latest/api/API_", stringify!($write), ".html).")]
                ///
                /// # Errors
                /// Those of the API Reference.
                pub async fn $wm(&self, request: $wq) -> Result<$wr, Error> {
                    let (action, scope, request) = (Action::$write, &self.scope, &request);
                    self.cloud_map.write(WriteCall { action, scope, request, waits: true }, $wp).await
                }
            )*
            $(
                #[doc = concat!("[`", stringify!($read), "`](https://docs.aws.amazon.com/cloud-map/latest/api/API_", stringify!($read), ".html).")]
                ///
                /// # Errors
                /// Those of the API Reference.
                pub fn $rm(&self, request: &$rq) -> Result<$rr, Error> {
                    self.read(Action::$read, request, $rp)
                }
            )*
        }

        impl SyncScopedCloudMap {
            $(
                #[doc = concat!("[`", stringify!($write), "`](https://docs.aws.amazon.com/cloud-map/latest/api/API_", stringify!($write), ".html).")]
                ///
                /// # Errors
                /// Those of the API Reference.
                pub fn $wm(&self, request: $wq) -> Result<$wr, Error> {
                    let ScopedCloudMap { cloud_map, scope, .. } = &self.scoped;
                    let (action, request) = (Action::$write, &request);
                    at_once(cloud_map.write(WriteCall { action, scope, request, waits: false }, $wp))
                }
            )*
            $(
                #[doc = concat!("[`", stringify!($read), "`](https://docs.aws.amazon.com/cloud-map/latest/api/API_", stringify!($read), ".html).")]
                ///
                /// # Errors
                /// Those of the API Reference.
                pub fn $rm(&self, request: &$rq) -> Result<$rr, Error> {
                    self.scoped.$rm(request)
                }
            )*
        }
    };
}

crate::for_each_action!(methods);
