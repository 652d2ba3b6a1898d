//! What ECS does with Cloud Map: for authors of ECS emulators.
//!
//! ECS registers each task of a service that has `serviceRegistries` as an instance, and deregisters it before the task ends.
//! The rules are pure functions over values; nothing here has sockets or reads ECS's requests.
//!
//! | to | use |
//! |---|---|
//! | check CreateService, UpdateService and CreateTaskSet | [`validate_service_registries`] |
//! | know what ECS registers for a task | [`instance_of`], [`health_of`] |
//! | keep instances in step with tasks, also after a crash of the host | [`EcsDiscovery`] |
//! | create and remove the services of Service Connect | [`service_connect`] |
//!
//! Sources: "Service discovery" in the ECS Developer Guide, ServiceRegistry and Task in the ECS API Reference, and refusals that
//! were seen on AWS. `tests/cases/ecs` has the rules as tables, each row with its source.

mod discovery;
mod health;
mod instance;
mod registry;
pub mod service_connect;
mod task;

pub use discovery::{Drain, EcsDiscovery, Listed, Refusal, RefusalReason, TaskDiscovery};
pub use health::health_of;
pub use instance::instance_of;
pub use registry::{EcsError, RegistryWarning, ServiceRegistry, validate_service_registries};
pub use task::{
    Container, ContainerDefinition, LaunchType, NetworkMode, PortMapping, Task, TaskDefinition, TaskStatus,
};
