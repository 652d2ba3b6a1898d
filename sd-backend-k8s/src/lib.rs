//! The registry in Kubernetes. **This crate is still empty.**
//!
//! It will store namespaces, services and instances as objects of the Kubernetes API, follow the writes of other
//! replicas, and publish healthy instances as EndpointSlices, which the cluster's own DNS serves. Until then,
//! `sd-backend-memory` is the only backend.

#![forbid(unsafe_code)]
