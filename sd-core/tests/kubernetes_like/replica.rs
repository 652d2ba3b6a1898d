//! A replica: a handle on the store with a cell of its own. This is the protocol.
//!
//! **Objects.** One for each entity; none grows with its scope. A namespace or service is named by its id, an instance by the
//! *life* of its service and its own id, a *claim* by the unique key of a namespace that it stands for. A life is a number
//! that the write chooses which creates the entity. Children and claims name the life of their parent, so nothing of a
//! predecessor counts. Every object has the entity's record, the operation on it that is under way, and the last writes with
//! the operations that they finished. An operation without an entity has an object of its own, and each scope has a marker
//! that counts its resets.
//!
//! **Writes** are compare-and-set on one object, and leave a nonce in it. A write without an answer is repeated: if it was
//! done, its object has another version, and its last writes name the nonce.
//!
//! **Creating a namespace or service** takes two writes. *Creating* is shown to nobody. A namespace takes its claims in their
//! order, a service looks at its namespace, and then becomes *active*, which is the commit. A replica that meets something half-way
//! finishes it. What cannot be finished is given up: its object loses its life, so that the same write, late, creates nothing.
//!
//! **Deleting one** takes a mark, a list and a write. *Closing* hides nothing. If the list of children, made after the mark,
//! shows none in use, the object becomes *gone*, guarded by the version of the mark; otherwise the mark is taken off. A
//! replica that writes a child looks at the parent after the write and takes the mark off, so one of the two always fails.
//!
//! **Instances.** Replace the object by its version, then look at the service. No other instance's write is met. If the
//! service does not have the life any more, the write counts for nobody. If the set relies on the service and that has
//! another version, the object is replaced, by its version, by what was there before; if others have written upon it by
//! then, it counts. A deregistration leaves a tombstone.
//!
//! **An answer without changes** rests on an instance that its writer may yet take back. It marks the object as *settled*,
//! which makes the taking back fail, and looks at the service after that.
//!
//! **Reset.** The marker is raised first. Then each namespace is marked, its services go, and it goes itself. Every object
//! says how many resets were before it; operations of earlier ones are forgotten. A creation reads the marker between its two
//! writes, so the reset finds it, or it belongs to what comes after.
//!
//! **Doubt.** An instance that was written, and whose service could not be looked at, is *unconfirmed*: this replica shows
//! what was there before, because a request that is found in the cell is answered with success. Before anything else is
//! written there, the look is made up for.
//!
//! **Time.** Objects hold facts with their moments, so an operation that is due takes effect everywhere without a write.
//! The next writer of the object stores the effect in place of the operation; that of an operation on a parent before a
//! write of a child. A service that begins or ceases to be checked starts the health of its instances anew: it counts how
//! often, and an instance's health counts for the number that it was written under.
//!
//! **The cell** shows what counts, by what has arrived of each kind. Own writes are laid over it at the end of a set, all at
//! once; a set of several writes that fails leaves the prefix that was stored. A set continues when its caller is dropped, as on a
//! task of its own. Sets of a replica are stored one after the other here; those on different objects could be stored beside
//! each other if the watch of an object waits for its own writer.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, TryLockError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use async_trait::async_trait;
use sd_core::{
    ChangeSet, CommitError, Registry, Scope, State, StateCell, StateWriter, conformance::BoxFuture,
    store::Lookup,
};

use crate::{
    mirror::Mirror,
    objects::{Kind, Nonce},
    world::{World, pause},
};

pub(crate) struct KubernetesLike {
    core: Arc<Core>,
    /// Sets that are being stored, one after the other. A task that waits for one drives all before it.
    jobs: Mutex<VecDeque<BoxFuture<'static, ()>>>,
}

/// What a replica's sets share.
pub(crate) struct Core {
    pub(crate) world: Arc<World>,
    pub(crate) writer: StateWriter,
    mirror: Mutex<Mirror>,
    pub(crate) number: u32,
    names: AtomicU64,
}

impl KubernetesLike {
    /// A replica that starts with a list of everything.
    pub(crate) fn open(world: &Arc<World>) -> Arc<Self> {
        let core = Arc::new(Core {
            world: Arc::clone(world),
            writer: StateWriter::new(State::new()),
            mirror: Mutex::default(),
            number: world.number(),
            names: AtomicU64::new(0),
        });
        for kind in Kind::ALL {
            core.relist(kind);
        }
        world.enter(&core);
        Arc::new(Self { core, jobs: Mutex::default() })
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Does this after what was begun before, also if nobody waits for it any more.
    async fn run(
        &self,
        job: impl Future<Output = Result<(), CommitError>> + Send + 'static,
    ) -> Result<(), CommitError> {
        let result = Arc::new(Mutex::new(None));
        let told = Arc::clone(&result);
        let job: BoxFuture<'static, ()> = Box::pin(async move {
            let result = job.await;
            *told.lock().unwrap() = Some(result);
        });
        self.jobs.lock().unwrap().push_back(job);
        poll_fn(|context| {
            self.drive(context);
            result.lock().unwrap().take().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Drives what is being stored. Whether there is anything left.
    pub(crate) fn drive(&self, context: &mut Context<'_>) -> bool {
        let mut jobs = match self.jobs.try_lock() {
            Ok(jobs) => jobs,
            Err(TryLockError::WouldBlock) => {
                context.waker().wake_by_ref();
                return true;
            }
            Err(TryLockError::Poisoned(_)) => panic!("a set has panicked"),
        };
        while let Some(job) = jobs.front_mut() {
            if job.as_mut().poll(context).is_pending() {
                return true;
            }
            jobs.pop_front();
        }
        false
    }
}

#[async_trait]
impl Registry for KubernetesLike {
    fn cell(&self) -> &StateCell {
        self.core.writer.cell()
    }

    async fn commit(&self, changes: ChangeSet) -> Result<(), CommitError> {
        let core = Arc::clone(&self.core);
        self.run(async move { core.store(changes).await }).await
    }

    async fn refresh(&self, scope: &Scope, facts: &[Lookup]) -> Result<(), CommitError> {
        let (core, scope, facts) = (Arc::clone(&self.core), scope.clone(), facts.to_vec());
        self.run(async move { core.look_for(&scope, &facts).await }).await
    }

    /// Others have their turn, the more the more often it was in vain.
    async fn pause(&self, attempts: u32) {
        for _ in 0..attempts {
            pause().await;
        }
    }
}

impl fmt::Debug for KubernetesLike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KubernetesLike({}, {:?})", self.core.number, self.core.world)
    }
}

impl Core {
    pub(crate) fn mirror(&self) -> MutexGuard<'_, Mirror> {
        self.mirror.lock().unwrap()
    }

    /// A mark that no write has had before.
    pub(crate) fn fresh(&self) -> Nonce {
        format!("{}-{}", self.number, self.names.fetch_add(1, Ordering::SeqCst))
    }

    /// A number that no life has had before.
    pub(crate) fn life(&self) -> u64 {
        (u64::from(self.number + 1) << 32) + self.names.fetch_add(1, Ordering::SeqCst)
    }

    /// Publishes what the mirror has come to.
    pub(crate) fn show(&self, mirror: &mut Mirror) {
        if !std::mem::take(&mut mirror.is_new) {
            return;
        }
        for scope in mirror.started_over() {
            let (state, _) = mirror.state(self.writer.cell());
            let mut found = ChangeSet::new(scope.clone(), mirror.at);
            found.reset = true;
            found.changes =
                State::new().diff(&state).into_iter().find(|(of, _)| *of == scope).unwrap_or_default().1;
            self.writer.publish(&found).expect("what is stored is legal");
            mirror.shows_resets(&scope);
        }
        let (state, finished) = mirror.state(self.writer.cell());
        self.writer.reconcile(&state, mirror.at, &finished).expect("what is stored is legal");
    }

    /// Applies the next events of a kind, unless a set is being stored.
    pub(crate) fn follow(&self, kind: Kind, count: usize) {
        let mut mirror = self.mirror();
        if mirror.writing || count == 0 {
            return;
        }
        let events = self.world.store.lock().unwrap().watch(kind, *mirror.cursor(kind), count);
        let Ok(events) = events else {
            drop(mirror);
            return self.relist(kind);
        };
        for event in &events {
            mirror.event(event);
            self.show(&mut mirror);
        }
    }

    /// Lists everything of a kind, unless a set is being stored.
    pub(crate) fn relist(&self, kind: Kind) {
        let mut mirror = self.mirror();
        if mirror.writing {
            return;
        }
        let (objects, revision) = {
            let store = self.world.store.lock().unwrap();
            (store.list(kind, ""), store.revision())
        };
        mirror.listed(kind, "", &objects, revision);
        *mirror.cursor(kind) = revision;
        self.show(&mut mirror);
    }
}
