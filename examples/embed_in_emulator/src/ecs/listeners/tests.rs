use sd_backend_memory::MemoryRegistry;
use sd_core::{Blueprint, CloudMap, Scope, ecs::Drain, model::RecordType, request::DiscoverInstancesRequest};

use super::*;
use crate::ecs::{
    discovery::Discovery,
    model::Status,
    target_groups::TargetGroups,
    testing::{entered, target_group, task},
};

/// Longer than one listener may take, and shorter than two after one another. Time is paused, so it passes at once.
const DEADLINE: Duration = Duration::from_secs(LIMIT as u64 * 3 / 2);

/// A listener that always does the same.
#[derive(Clone, Debug)]
enum Fake {
    Answers(Answer),
    Hangs,
    Panics,
}

impl Fake {
    async fn act(&self) -> Answer {
        match self {
            Self::Answers(answer) => answer.clone(),
            Self::Hangs => std::future::pending().await,
            Self::Panics => panic!("a listener that panics"),
        }
    }
}

#[async_trait]
impl Listener for Fake {
    async fn changed(&self, _: &Task) -> Answer {
        self.act().await
    }

    async fn all(&self, _: u64, _: &[Task]) {
        self.act().await;
    }
}

fn refused(reason: &str) -> Answer {
    Answer::Refused(reason.to_owned())
}

fn wait(seconds: u64) -> Answer {
    Answer::Wait(Duration::from_secs(seconds))
}

fn notifying(listeners: Vec<Arc<dyn Listener>>) -> Listeners {
    Listeners::new(listeners, &Clock::new(Duration::from_secs(1)))
}

async fn changed(listeners: &Listeners, task: &Task) -> Answer {
    timeout(DEADLINE, listeners.changed(task)).await.expect("no listener takes longer than the limit")
}

async fn listed(listeners: &Listeners, moment: u64, tasks: &[Task]) {
    timeout(DEADLINE, listeners.all(moment, &tasks.into()))
        .await
        .expect("no listener takes longer than the limit");
}

/// Cloud Map with the service `web.app.local`, and its ARN.
async fn cloud_map() -> (CloudMap, String) {
    let (cloud_map, scope) = (CloudMap::new(MemoryRegistry::new()), Scope::default());
    let web = Blueprint::new()
        .private_dns_namespace("app.local", "vpc-1")
        .dns_service("web", [(RecordType::A, 60)])
        .apply(&cloud_map.at(scope.clone()))
        .await
        .unwrap();
    let arn = scope.service_arn(web.service_id("web").unwrap());
    (cloud_map, arn.to_string())
}

fn instances(cloud_map: &CloudMap) -> usize {
    let question = DiscoverInstancesRequest::new("app.local", "web");
    cloud_map.at(Scope::default()).discover_instances(&question).unwrap().instances.len()
}

#[tokio::test(start_paused = true)]
async fn a_task_goes_on_when_all_listeners_say_so() {
    let task = task(None);
    for (fakes, answer) in [
        (vec![], Answer::GoOn),
        (vec![Fake::Answers(Answer::GoOn), Fake::Answers(Answer::GoOn)], Answer::GoOn),
        (vec![Fake::Answers(refused("full")), Fake::Answers(Answer::GoOn)], refused("full")),
        (vec![Fake::Answers(Answer::GoOn), Fake::Answers(wait(3))], wait(3)),
        // A refusal does not end a wait: a refused task goes on in DEACTIVATING.
        (vec![Fake::Answers(wait(3)), Fake::Answers(refused("full")), Fake::Answers(wait(2))], wait(3)),
        (vec![Fake::Hangs, Fake::Answers(Answer::GoOn)], refused("no answer")),
        (vec![Fake::Hangs, Fake::Hangs], refused("no answer")),
        (vec![Fake::Panics, Fake::Answers(Answer::GoOn)], refused("a listener panicked")),
    ] {
        let listeners = fakes.iter().map(|fake| Arc::new(fake.clone()) as Arc<dyn Listener>).collect();
        assert_eq!(changed(&notifying(listeners), &task).await, answer, "{fakes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_fails_does_not_disturb_discovery() {
    for fake in [Fake::Answers(refused("full")), Fake::Hangs, Fake::Panics] {
        let (cloud_map, arn) = cloud_map().await;
        let discovery = Arc::new(Discovery::new(cloud_map.clone(), Drain::None));
        let listeners = notifying(vec![Arc::new(fake.clone()), discovery]);
        let activating = entered(&task(Some(&arn)), Status::Activating);
        assert_ne!(changed(&listeners, &activating).await, Answer::GoOn, "{fake:?}");
        assert_eq!(instances(&cloud_map), 1, "{fake:?}");
        let deactivating = entered(&activating, Status::Deactivating);
        changed(&listeners, &deactivating).await;
        assert_eq!(instances(&cloud_map), 0, "{fake:?}");
        // So do listings.
        let running = entered(&deactivating, Status::Running);
        listed(&listeners, running.moment, std::slice::from_ref(&running)).await;
        assert_eq!(instances(&cloud_map), 1, "{fake:?}");
        listed(&listeners, running.moment + 1, &[]).await;
        assert_eq!(instances(&cloud_map), 0, "{fake:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn discovery_that_refuses_does_not_disturb_target_groups() {
    let (_, arn) = cloud_map().await;
    let target_groups = Arc::<TargetGroups>::default();
    // A Cloud Map that does not have the service.
    let discovery = Arc::new(Discovery::new(CloudMap::new(MemoryRegistry::new()), Drain::None));
    let listeners = notifying(vec![discovery, target_groups.clone()]);
    let activating = entered(&task(Some(&arn)), Status::Activating);
    let Answer::Refused(reason) = changed(&listeners, &activating).await else { panic!("not refused") };
    assert!(reason.contains("ServiceNotFound"), "{reason}");
    assert_eq!(target_groups.targets(&target_group("web")).len(), 1);
    let deactivating = entered(&activating, Status::Deactivating);
    changed(&listeners, &deactivating).await;
    assert!(target_groups.targets(&target_group("web")).is_empty());
}
