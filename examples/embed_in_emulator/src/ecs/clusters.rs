//! Clusters.

use sd_core::Scope;
use serde_json::{Value, json};

use super::{
    Ecs,
    model::{Cluster, Service, ServiceStatus, Status},
    refusal::{Refusal, page},
    state::{State, arn, last_part},
};

impl Ecs {
    pub(super) fn create_cluster(&self, scope: &Scope, input: &Value) -> Result<Value, Refusal> {
        let name = input["clusterName"].as_str().unwrap_or("default");
        let is_valid = |char: char| char.is_ascii_alphanumeric() || "-_".contains(char);
        if !(1..=255).contains(&name.len()) || !name.chars().all(is_valid) {
            return Err(Refusal::parameter("Invalid cluster name.")); // Our text.
        }
        let arn = arn(scope, "cluster", name);
        let mut state = self.lock();
        // As at AWS, creating it again does nothing.
        if state.cluster(scope, Some(name)).is_err() {
            let cluster = Cluster {
                arn: arn.clone(),
                name: name.to_owned(),
                is_active: true,
                tags: super::list(&input["tags"]),
                settings: input["settings"].clone(),
            };
            state.clusters.insert(arn.clone(), cluster);
        }
        let cluster = state.clusters.get(&arn).map(|cluster| show(&state, scope, cluster));
        Ok(json!({"cluster": cluster}))
    }

    pub(super) fn delete_cluster(&self, scope: &Scope, input: &Value) -> Result<Value, Refusal> {
        let given = super::text(input, "cluster")?;
        let mut state = self.lock();
        let name = state.cluster_name(scope, Some(given))?;
        if state.services_of(scope, &name).any(|service| service.status != ServiceStatus::Inactive) {
            let text = "The Cluster cannot be deleted while Services are active.";
            return Err(Refusal::new("ClusterContainsServicesException", text));
        }
        if state.tasks_of(scope, &name).any(|task| task.status != Status::Stopped) {
            let text = "The Cluster cannot be deleted while Tasks are active.";
            return Err(Refusal::new("ClusterContainsTasksException", text));
        }
        let arn = arn(scope, "cluster", &name);
        if let Some(cluster) = state.clusters.get_mut(&arn) {
            cluster.is_active = false;
        }
        let cluster = state.clusters.get(&arn).map(|cluster| show(&state, scope, cluster));
        Ok(json!({"cluster": cluster}))
    }

    pub(super) fn describe_clusters(&self, scope: &Scope, input: &Value) -> Result<Value, Refusal> {
        let mut given = super::texts(input, "clusters", 100)?;
        if given.is_empty() {
            given.push("default".to_owned());
        }
        let mut state = self.lock();
        state.create_default_cluster(scope);
        let (mut clusters, mut failures) = (Vec::new(), Vec::new());
        for given in given {
            let asked = arn(scope, "cluster", last_part(&given));
            match state.clusters.get(&asked).filter(|_| !given.starts_with("arn:") || given == asked) {
                Some(cluster) => clusters.push(show(&state, scope, cluster)),
                None => failures.push(super::missing(&given, &asked)),
            }
        }
        Ok(json!({"clusters": clusters, "failures": failures}))
    }

    pub(super) fn list_clusters(&self, scope: &Scope, input: &Value) -> Result<Value, Refusal> {
        let mut state = self.lock();
        state.create_default_cluster(scope);
        let prefix = arn(scope, "cluster", "");
        let clusters = state.clusters.values();
        let clusters = clusters.filter(|cluster| cluster.is_active && cluster.arn.starts_with(&prefix));
        page("clusterArns", clusters.map(|cluster| cluster.arn.clone()), input)
    }
}

fn show(state: &State, scope: &Scope, cluster: &Cluster) -> Value {
    let tasks = |is_counted: fn(Status) -> bool| {
        state.tasks_of(scope, &cluster.name).filter(|task| is_counted(task.status)).count()
    };
    let is_active = |service: &&Service| service.status == ServiceStatus::Active;
    json!({
        "clusterArn": cluster.arn,
        "clusterName": cluster.name,
        "status": if cluster.is_active { "ACTIVE" } else { "INACTIVE" },
        "registeredContainerInstancesCount": 0,
        "runningTasksCount": tasks(|status| status == Status::Running),
        "pendingTasksCount": tasks(|status| status < Status::Running),
        "activeServicesCount": state.services_of(scope, &cluster.name).filter(is_active).count(),
        "statistics": [],
        "tags": cluster.tags,
        "settings": super::list(&cluster.settings),
        "capacityProviders": [],
        "defaultCapacityProviderStrategy": [],
    })
}
