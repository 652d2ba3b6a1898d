use std::cell::Cell;

use super::*;
use crate::{
    api::request::CreateHttpNamespaceRequest,
    cloud_map::SyncCloudMap,
    store::registry::{Immediate, Registry},
};

#[derive(Debug)]
struct Memory(StateWriter);

#[async_trait::async_trait]
impl Registry for Memory {
    fn cell(&self) -> &StateCell {
        self.0.cell()
    }

    async fn commit(&self, changes: ChangeSet) -> Result<(), CommitError> {
        self.0.publish(&changes).map(drop)
    }
}

impl Immediate for Memory {}

/// A registry in memory, and a way to create a namespace in it.
fn memory() -> (Arc<Memory>, impl Fn(&str)) {
    let memory = Arc::new(Memory(StateWriter::new(State::new())));
    let api = SyncCloudMap::new(Arc::clone(&memory)).at(Scope::default());
    let create = move |name: &str| {
        api.create_http_namespace(CreateHttpNamespaceRequest::new(name)).unwrap();
    };
    (memory, create)
}

fn names(cell: &StateCell) -> Vec<String> {
    let state = cell.load();
    let namespaces = state.scope(&Scope::default()).namespaces();
    let mut names: Vec<_> = namespaces.map(|entry| entry.namespace().name.to_string()).collect();
    names.sort();
    names
}

#[test]
fn others_publish_while_states_are_compared() {
    let (stored, store) = memory();
    store("stored");
    let found = stored.cell().load().clone();
    for interruptions in 0..8 {
        let (shown, create) = memory();
        create("before");
        let left = Cell::new(interruptions);
        let compared = Cell::new(0);
        let result = shown.0.reconcile_beside(&found, Timestamp::default(), &[], || {
            compared.set(compared.get() + 1);
            // It would wait for ever if it had to wait for the comparison.
            if left.get() > 0 {
                left.set(left.get() - 1);
                create(&format!("beside-{}", left.get()));
            }
        });
        assert!(result.is_ok());
        assert_eq!(names(shown.cell()), ["stored"], "{interruptions} interruptions");
        assert_eq!(compared.get(), (interruptions + 1).min(4), "others wait in the end");
    }
}
