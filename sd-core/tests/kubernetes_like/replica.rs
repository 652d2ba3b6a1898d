//! A replica: a handle on the store with a cell of its own. This is the protocol.
//!
//! **Objects.** A *slot* for each instance, named by the service's incarnation and the instance's id: the instance with its
//! health, the operation on it that is under way, and the last operations that ended. A *value* for each namespace, service
//! and operation on a namespace: written once under a fresh name, never changed. One *directory* for each scope: which
//! values count. What the directory does not name does not exist, slots of its services included.
//!
//! **Namespaces and services.** Read the directory and the values that are new in it, decide, write new values, replace the
//! directory by its version. That one write is the commit: it takes all changes or none, and what must be unique needs no
//! object of its own. A value that no directory came to name is swept once the directory has left the version that the
//! value was written for, since only that one could have named it.
//!
//! **Instances.** Replace the slot by its version. No other instance's write is met, so registrations do not conflict.
//! A deregistration leaves a tombstone, which tells the operation to others, and is swept when no request can be on its way.
//!
//! **A service may only go without instances.** To delete: mark it *closing* in the directory; list its slots; if one is in
//! use, unmark and refuse, otherwise replace the directory *of the mark's version*. To register: write the slot, then read
//! the directory; service gone: refuse; closing: unmark it, which makes the deletion fail; neither: done. If the slot came
//! after the list, the read comes after the mark, so one of the two sees the other. A mark that a crash has left is taken
//! off by the next who meets it.
//!
//! **A registration relies on the value of its service.** The same read after the slot tells whether the directory still names
//! that value. If it names another one, the slot is replaced, by its version, by what was there before, and the registration
//! is refused. If others have written upon the slot by then, it counts.
//!
//! **An answer without changes** rests on a slot that its writer may yet take back. It marks the slot as *settled*, which makes
//! the taking back fail, and then reads the directory as after a registration.
//!
//! **Starting over.** The directory names nothing any more and counts the resets. That one write is the
//! commit. A registration that was written beside it does not find its service after. A replica that meets a
//! higher count forgets the operations of the scope, which the directory and the slots that it named have
//! forgotten as well.
//!
//! **Doubt.** A write that was not answered is repeated: if it was done its object has another version, and says in `recent`
//! who wrote it. A slot that was written, and whose service could not be read after, is *unconfirmed*: this replica shows
//! what was there before, because a request that is found in the cell is answered with success.
//!
//! **Time.** Objects hold facts with their moments, so an operation that is due takes effect everywhere without a write.
//! Whoever writes the directory or the slot next stores the effect in place of the operation; that of an operation on a
//! service before a slot in it. A service that begins or ceases to be checked starts the health of its instances anew: the
//! directory counts how often, and a slot's health counts for the number that it was written under.
//!
//! **The cell** shows the newest directory of which all values are here, and the slots of its services. Own writes are
//! laid over it at the end of a set, all at once; a set of several writes that fails leaves the prefix that was stored. A
//! set goes on when its caller is gone, as on a task of its own. Sets of a replica are stored one after the other here;
//! those that write one slot each could be stored beside each other if the watch of a slot waits for its own writer.

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
    /// Sets that are being stored, one after the other. Whoever waits for one drives all before it.
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

    /// A name that nothing has had before.
    pub(crate) fn fresh(&self) -> Nonce {
        format!("{}-{}", self.number, self.names.fetch_add(1, Ordering::SeqCst))
    }

    /// Publishes what the mirror has come to.
    pub(crate) fn show(&self, mirror: &mut Mirror) {
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

    /// Is told the next events of a kind, unless a set is being stored.
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
