//! The rules for backends, as tests: one named test for each. Behind the feature `conformance`.
//!
//! A backend gives a closure that opens a registry with nothing in it, and a way to drive a future; the macro
//! [`conformance_tests!`](crate::conformance_tests) makes the tests. In `Cargo.toml`:
//!
//! ```toml
//! [dev-dependencies]
//! sd-core = { version = "0.1", features = ["conformance"] }
//! ```
//!
//! and in a file under `tests/`:
//!
//! ```
//! use std::sync::Arc;
//!
//! use sd_backend_memory::MemoryRegistry; // or your own
//! use sd_core::conformance::{BoxFuture, Subject};
//!
//! /// Any executor does: `|future| RUNTIME.block_on(future)`, `pollster::block_on`.
//! fn block_on(mut future: BoxFuture<'static, ()>) {
//!     let mut context = std::task::Context::from_waker(std::task::Waker::noop());
//!     while future.as_mut().poll(&mut context).is_pending() {}
//! }
//!
//! sd_core::conformance_tests! {
//!     fresh: || async { Subject::new(Arc::new(MemoryRegistry::new())) },
//!     block_on: block_on,
//!     no_faults,  // it does no I/O; a backend with a store says `faults`
//!     no_restart, // nothing is left of it when it is dropped; a backend with a store says `restart`
//! }
//! # fn main() {
//! # for rule in sd_core::conformance::RULES.iter().filter(|rule| rule.group() == sd_core::conformance::Group::Every) {
//! #     rule.check(|| async { Subject::new(Arc::new(MemoryRegistry::new())) }, block_on);
//! # }
//! # }
//! ```
//!
//! # Faults
//! A backend with a store says `faults`, and its factory says [`Subject::with_faults`]: the rules of this group let a write
//! of a commit crash, go without an answer, or arrive late, and look at what is left. A backend without I/O says
//! `no_faults`, which is a rule of its own: its commits wait for nothing, and its factory offers no faults.
//!
//! # Restart
//! A backend with a store says `restart`, and its factory says [`Subject::reopened_by`]: the rules of this group drop every
//! handle, open the store again, and look for what was there. A backend without a store says `no_restart`, and so
//! does one whose store does not keep every fact, such as places in lists. That is a rule of its own: its factory offers no
//! restart.
//!
//! The rules are data as well: [`RULES`] lists them, and [`Rule::check`] tries one. Any release may add rules that follow
//! from the contract of [`Registry`].

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "this is the code of tests: a rule that is broken ends in a panic"
)]

mod changes;
mod conflicts;
mod delays;
mod dropping;
mod engines;
mod entities;
mod fault;
mod faults;
mod forks;
mod handles;
mod immediate;
mod observers;
mod operations;
mod preconditions;
mod resets;
mod restarts;
mod revisions;
mod scopes;
mod subscriptions;
mod table;
mod threads;
mod visibility;
mod witness;

use std::{any::Any, fmt, pin::Pin, sync::Arc};

use crate::store::registry::{Immediate, Registry};

pub use fault::{Faults, StoreFault, Strike};

/// A future on the heap that may be sent to another thread.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Drives a future to its end on the thread that calls it. Several threads may do so at once.
pub type BlockOn = fn(BoxFuture<'static, ()>);

type Open = Box<dyn Fn() -> BoxFuture<'static, Arc<dyn Registry>> + Send + Sync>;
type Fork = Box<dyn Fn() -> Arc<dyn Registry> + Send + Sync>;

/// The subject of a rule: an empty registry that nobody else uses.
pub struct Subject {
    registry: Arc<dyn Registry>,
    immediate: Option<Arc<dyn Immediate>>,
    open: Option<Open>,
    fork: Option<Fork>,
    faults: Option<Arc<dyn Faults>>,
    reopen: Option<Open>,
    /// Dropped last.
    _guard: Option<Box<dyn Any + Send + Sync>>,
}

impl Subject {
    /// The registry. A second handle on its store is the same `Arc`, unless [`opened_by`](Self::opened_by) says how to
    /// open one.
    #[must_use]
    pub fn new(registry: Arc<dyn Registry>) -> Self {
        Self { registry, immediate: None, open: None, fork: None, faults: None, reopen: None, _guard: None }
    }

    /// A registry that claims to wait for nothing. The group `immediate` needs this.
    #[must_use]
    pub fn immediate(registry: Arc<impl Immediate>) -> Self {
        Self { immediate: Some(Arc::clone(&registry) as Arc<dyn Immediate>), ..Self::new(registry) }
    }

    /// Says how another handle on the same store is opened, as another process would.
    #[must_use]
    pub fn opened_by<F>(mut self, open: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Arc<dyn Registry>> + Send + 'static,
    {
        self.open = Some(Box::new(move || Box::pin(open())));
        self
    }

    /// Says how a registry of its own is made that starts with what this one shows. The group `fork` needs this.
    #[must_use]
    pub fn forked_by(mut self, fork: impl Fn() -> Arc<dyn Registry> + Send + Sync + 'static) -> Self {
        self.fork = Some(Box::new(fork));
        self
    }

    /// Says how writes of this handle to the store go wrong. The group `faults` needs this.
    #[must_use]
    pub fn with_faults(mut self, faults: Arc<dyn Faults>) -> Self {
        self.faults = Some(faults);
        self
    }

    /// Says how the store is opened again after every handle on it is dropped, as by the next process. The group `restart`
    /// needs this.
    ///
    /// The closure keeps what is left of the store, such as a directory, and no handle. The closure of
    /// [`forked_by`](Self::forked_by) is dropped before.
    #[must_use]
    pub fn reopened_by<F>(mut self, reopen: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Arc<dyn Registry>> + Send + 'static,
    {
        self.reopen = Some(Box::new(move || Box::pin(reopen())));
        self
    }

    /// Something that is dropped when the rule is done, after the registry: a directory, a server.
    #[must_use]
    pub fn guarded_by(mut self, guard: impl Any + Send + Sync) -> Self {
        self._guard = Some(Box::new(guard));
        self
    }

    /// The registry.
    fn registry(&self) -> &Arc<dyn Registry> {
        &self.registry
    }

    /// Drops every handle and opens the store again. The rule has dropped its own handles.
    async fn restarted(self) -> Self {
        let Self { registry, immediate, open, fork, faults, reopen, _guard } = self;
        drop((registry, immediate, fork));
        let reopen = reopen.expect("the factory says `Subject::reopened_by`");
        let registry = reopen().await;
        Self { registry, immediate: None, open, fork: None, faults, reopen: Some(reopen), _guard }
    }

    /// Another handle on the same store.
    async fn another(&self) -> Arc<dyn Registry> {
        match &self.open {
            Some(open) => open().await,
            None => Arc::clone(&self.registry),
        }
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("registry", &self.registry).finish_non_exhaustive()
    }
}

/// Opens the subject of a rule. Closures and functions that return a future are factories.
pub trait Factory: Send + Sync + 'static {
    /// An empty registry that nobody else uses.
    fn fresh(&self) -> BoxFuture<'_, Subject>;
}

impl<F, T> Factory for F
where
    F: Fn() -> T + Send + Sync + 'static,
    T: Future<Output = Subject> + Send + 'static,
{
    fn fresh(&self) -> BoxFuture<'_, Subject> {
        Box::pin(self())
    }
}

/// What a rule has to work with.
pub(crate) struct Bench {
    factory: Box<dyn Factory>,
    block_on: BlockOn,
}

impl Bench {
    async fn fresh(&self) -> Subject {
        self.factory.fresh().await
    }
}

/// The backends that a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Group {
    /// Every one.
    Every,
    /// Those that are marked [`Immediate`].
    Immediate,
    /// Those that can be forked.
    Fork,
    /// Those whose store can fail, by [`Faults`].
    Faults,
    /// Those that have no store that can fail, because they do no I/O.
    NoFaults,
    /// Those with a store that can be opened again, by [`Subject::reopened_by`].
    Restart,
    /// Those that do not keep every fact over a restart, because they have no store or one that leaves something out.
    NoRestart,
}

/// One rule.
pub struct Rule {
    name: &'static str,
    claim: &'static str,
    group: Group,
    run: for<'a> fn(&'a Bench) -> BoxFuture<'a, ()>,
}

impl Rule {
    /// Its name, which is that of its test.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What it asserts, as a sentence.
    #[must_use]
    pub fn claim(&self) -> &'static str {
        self.claim
    }

    /// The backends that it is for.
    #[must_use]
    pub fn group(&self) -> Group {
        self.group
    }

    /// Tries the rule on registries of this factory.
    ///
    /// # Panics
    /// If the rule is broken.
    pub fn check(&self, factory: impl Factory, block_on: BlockOn) {
        let bench = Bench { factory: Box::new(factory), block_on };
        let run = self.run;
        block_on(Box::pin(async move { run(&bench).await }));
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule").field("name", &self.name).field("group", &self.group).finish_non_exhaustive()
    }
}

/// The rule of this name.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn rule(name: &str) -> &'static Rule {
    RULES.iter().find(|rule| rule.name == name).expect("a rule of this name")
}

macro_rules! rules {
    (() $($group:ident $module:ident::$name:ident $claim:literal;)*) => {
        /// All rules.
        pub const RULES: &[Rule] = &[$(
            Rule {
                name: stringify!($name),
                claim: $claim,
                group: group!($group),
                run: |bench| Box::pin($module::$name(bench)),
            },
        )*];
    };
}

macro_rules! group {
    (every) => {
        Group::Every
    };
    (immediate) => {
        Group::Immediate
    };
    (fork) => {
        Group::Fork
    };
    (faults) => {
        Group::Faults
    };
    (no_faults) => {
        Group::NoFaults
    };
    (restart) => {
        Group::Restart
    };
    (no_restart) => {
        Group::NoRestart
    };
}

crate::__conformance_rules! { [rules] () }
