use sd_backend_memory::MemoryRegistry;
use sd_core::CloudMap;
use serde_json::json;

use super::{
    super::{Settings, testing},
    *,
};

#[tokio::test]
async fn a_service_is_looked_at_again_until_it_is_steady() {
    let ecs = Ecs::start(CloudMap::new(MemoryRegistry::new()), Settings::new("/none"));
    let (scope, container) = (Scope::default(), json!({"name": "web", "command": ["web"]}));
    let definition = json!({"family": "web", "containerDefinitions": [container]});
    ecs.register_task_definition(&scope, &definition).unwrap();
    let service = json!({"serviceName": "web", "taskDefinition": "web", "desiredCount": 1});
    ecs.create_service(&scope, &service).unwrap();
    let (_, mut service) = ecs.lock().services.pop_first().unwrap();
    let (mut task, started) = (testing::task(None), ecs.clock.now());
    task.status = Status::Running;
    task.times.started_at = Some(started);
    let tasks = [task];
    for milliseconds in 0..STEADY * 1000 + 2 {
        let now = started + f64::from(milliseconds) / 1000.0;
        settle(&ecs.clock, &mut service, &tasks, true, now);
        let next = steady_at(&ecs.clock, &service, &tasks, now);
        assert_eq!(next.is_none(), service.is_steady, "after {milliseconds} ms");
    }
    assert_eq!(service.primary().rollout, Rollout::Completed);
}
