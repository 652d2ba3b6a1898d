//! The operations of the API as methods of both handles, made from the table of operations.

use std::{borrow::Borrow, sync::Arc};

use super::{ScopedCloudMap, SyncScopedCloudMap, blocking::at_once, commit::WriteCall};
use crate::{
    api::{
        call::{Request, Response},
        error::Error,
        modelled::{error_list, with_errors_of},
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

/// A link to the page of an operation in the API Reference.
macro_rules! doc_link {
    ($action:ident) => {
        concat!(
            "[`",
            stringify!($action),
            "`](https://docs.aws.amazon.com/cloud-map/latest/api/API_",
            stringify!($action),
            ".html)."
        )
    };
}

macro_rules! methods {
    (
        write { $($write:ident $wm:ident $wq:ident => $wr:ty: $wp:path,)* }
        read { $($read:ident $rm:ident $rq:ident => $rr:ty: $rp:path,)* }
    ) => {
        impl ScopedCloudMap {
            $(
                #[doc = doc_link!($write)]
                ///
                /// # Errors
                #[doc = with_errors_of!(error_list, $write)]
                pub async fn $wm(&self, request: impl Borrow<$wq> + Send + Sync) -> Result<$wr, Error> {
                    let Self { cloud_map, scope, waits, .. } = self;
                    let (action, request, waits) = (Action::$write, request.borrow(), *waits);
                    cloud_map.write(WriteCall { action, scope, request, waits }, $wp).await
                }
            )*
            $(
                #[doc = doc_link!($read)]
                ///
                /// # Errors
                #[doc = with_errors_of!(error_list, $read)]
                pub fn $rm(&self, request: impl Borrow<$rq>) -> Result<$rr, Error> {
                    self.read(Action::$read, request.borrow(), $rp)
                }
            )*

            /// Any operation, for doors and other callers that learn at run time which one it is. Like a door's request, a
            /// read is held back by a [delay](crate::Fault::delay).
            ///
            /// ```
            /// # use sd_backend_memory::MemoryRegistry;
            /// use sd_core::{CloudMap, Request, Response, Scope, request::CreateHttpNamespaceRequest};
            ///
            /// # async fn call() -> Result<(), sd_core::Error> {
            /// let cloud_map = CloudMap::new(MemoryRegistry::new()).at(Scope::default());
            /// let request = Request::from(CreateHttpNamespaceRequest::new("app"));
            /// let response = cloud_map.call(request).await?;
            /// assert!(matches!(response, Response::CreateHttpNamespace(_)));
            /// # Ok(())
            /// # }
            /// ```
            ///
            /// # Errors
            /// Those of the method of the operation.
            pub async fn call(&self, request: impl Borrow<Request> + Send + Sync) -> Result<Response, Error> {
                match request.borrow() {
                    // Boxed, so that a call is not as large as its largest write.
                    $(Request::$write(request) => Box::pin(self.$wm(request)).await.map(Response::$write),)*
                    $(Request::$read(request) => {
                        let response = self.hold_back(Action::$read, request, |held| held.$rm(request)).await;
                        response.map(Response::$read)
                    })*
                }
            }
        }

        impl SyncScopedCloudMap {
            $(
                #[doc = doc_link!($write)]
                ///
                /// # Errors
                #[doc = with_errors_of!(error_list, $write)]
                pub fn $wm(&self, request: impl Borrow<$wq>) -> Result<$wr, Error> {
                    let request: &$wq = request.borrow();
                    at_once(self.scoped.$wm(request))
                }
            )*
            $(
                #[doc = doc_link!($read)]
                ///
                /// # Errors
                #[doc = with_errors_of!(error_list, $read)]
                pub fn $rm(&self, request: impl Borrow<$rq>) -> Result<$rr, Error> {
                    self.scoped.$rm(request)
                }
            )*

            /// Any operation, for callers that learn at run time which one it is.
            ///
            /// # Errors
            /// Those of the method of the operation.
            pub fn call(&self, request: impl Borrow<Request>) -> Result<Response, Error> {
                match request.borrow() {
                    $(Request::$write(request) => self.$wm(request).map(Response::$write),)*
                    $(Request::$read(request) => self.$rm(request).map(Response::$read),)*
                }
            }
        }
    };
}

crate::for_each_action!(methods);
