//! The place of the registry in Kubernetes. **There is nothing in it yet.**
//!
//! It will keep namespaces, services and instances as objects of the Kubernetes API, show what other replicas write,
//! and publish healthy instances as EndpointSlices that the cluster's own DNS serves. Until then the registry in memory,
//! `sd-backend-memory`, is the one that there is.

#![forbid(unsafe_code)]
