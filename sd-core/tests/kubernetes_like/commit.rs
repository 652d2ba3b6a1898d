//! Storing a set: the protocol of `replica.rs`, step by step.

use std::{collections::BTreeSet, sync::Arc};

use sd_core::{
    Change, ChangeSet, CommitError, Scope, State, StateWriter,
    model::{InstanceId, ServiceId},
    state::Unmet,
};

use crate::{
    objects::{Directory, Kind, Name, Nonce, Payload, Recent, Slot},
    plan::{self, Part, Place},
    replica::Core,
    store::{Object, Write},
    world::Refusal,
};

/// How often a request is sent before it is given up.
const TRIES: usize = 8;
/// How often a set is begun again because others were quicker.
pub(crate) const ROUNDS: usize = 64;

/// What came of a write.
pub(crate) enum Written {
    /// It is there, with this version.
    As(u64),
    /// It was there, and others have written since.
    Before(Object),
    /// It was not done and will not be.
    Stale,
}

/// Why a step has not been done.
pub(crate) enum Stop {
    /// Somebody was quicker.
    Again,
    Failed(CommitError),
}

impl From<CommitError> for Stop {
    fn from(error: CommitError) -> Self {
        Self::Failed(error)
    }
}

pub(crate) fn unavailable() -> CommitError {
    CommitError::Unavailable { retry_after: None, source: "no answer from the store".into() }
}

/// A set on its way.
pub(crate) struct Course {
    /// What is stored and counts.
    pub(crate) done: Vec<Change>,
    /// Slots that are stored, and whether they count is not known.
    pub(crate) open: Vec<Open>,
    /// What is not stored yet. After the first step it relies on nothing any more.
    pub(crate) rest: ChangeSet,
    /// All that the rest is about was read from the store.
    fresh: bool,
    /// The scope has started over, which is stored and counts.
    reset: bool,
    /// The version of the directory in which services were marked, and whose slots were listed after.
    marked: Option<u64>,
    /// More is in the mirror than what was shown at the start and what is done.
    pub(crate) disturbed: bool,
    /// The state after the last step, as long as nothing else was read.
    after: Option<State>,
}

/// A slot that is stored, and of which it is not known whether it counts.
pub(crate) struct Open {
    pub(crate) nonce: Nonce,
    pub(crate) name: Name,
    pub(crate) slot: Arc<Slot>,
    pub(crate) change: Change,
    /// The slot that was there before.
    pub(crate) before: Option<Arc<Slot>>,
    /// The version that was written, and the value of the service that it relied on, if it relied on a revision. `None` if
    /// others have written upon it, so that it is not taken back any more.
    pub(crate) guarded: Option<(u64, Option<Name>)>,
}

impl Course {
    fn is_untouched(&self) -> bool {
        self.done.is_empty() && self.open.is_empty() && !self.reset
    }
}

impl Core {
    pub(crate) async fn store(&self, set: ChangeSet) -> Result<(), CommitError> {
        self.mirror().writing = true;
        let mut course = Course {
            done: Vec::new(),
            open: Vec::new(),
            rest: set.clone(),
            fresh: false,
            reset: false,
            marked: None,
            disturbed: false,
            after: None,
        };
        let mut result = self.store_all(&mut course).await;
        if !course.open.is_empty()
            && let Err(error) = self.confirm_open(&mut course).await
            && result.is_ok()
        {
            result = Err(error);
        }
        self.publish(set, &course, result.is_ok());
        result
    }

    /// Shows what was stored, at once.
    fn publish(&self, set: ChangeSet, course: &Course, whole: bool) {
        let mut mirror = self.mirror();
        mirror.at = mirror.at.max(set.at);
        let count = course.done.len();
        if !course.disturbed && (whole || count > 0 || course.reset) {
            if set.reset {
                mirror.shows_resets(&set.scope);
            }
            let mut shown = set;
            shown.preconditions.clear();
            if !whole {
                shown.changes.truncate(count);
                shown.operation = None;
            }
            self.writer.publish(&shown).expect("it leads to what is stored");
        }
        self.show(&mut mirror);
        mirror.writing = false;
    }

    async fn store_all(&self, course: &mut Course) -> Result<(), CommitError> {
        let whole = course.rest.clone();
        course.fresh = false;
        let guarded = plan::is_guarded(&whole, &self.mirror());
        if !guarded {
            self.refresh(course).await?;
        }
        let mut rounds = 0;
        while rounds < ROUNDS {
            match self.step(course).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(Stop::Again) => {
                    rounds += 1;
                    self.refresh(course).await?;
                }
                Err(Stop::Failed(error)) => return Err(error),
            }
        }
        Err(unavailable())
    }

    /// The state that the next step is decided upon.
    fn base(&self, course: &Course) -> State {
        let cell = self.writer.cell();
        cell.advance(course.rest.at);
        if course.is_untouched() {
            return cell.load().clone();
        }
        if let Some(after) = &course.after {
            return after.clone();
        }
        // What is done is stored and not shown yet.
        let mut mirror = self.mirror();
        let (state, _) = mirror.state(cell);
        let mut state = StateWriter::new(state);
        state.cell().advance(course.rest.at.max(mirror.at));
        for Open { change, .. } in &course.open {
            let mut open = ChangeSet::new(course.rest.scope.clone(), course.rest.at);
            open.changes.push(change.clone());
            if state.publish(&open).is_err() {
                state = StateWriter::new(state.cell().load().clone());
            }
        }
        state.cell().load().clone()
    }

    /// Stores the next changes of the set. Whether that was all.
    async fn step(&self, course: &mut Course) -> Result<bool, Stop> {
        let (place, count) = plan::first_place(&course.rest, &self.mirror());
        let base = self.base(course);
        let impossible = match base.apply(&course.rest) {
            Ok(_) => None,
            Err(_) if !course.fresh => return Err(Stop::Again),
            Err(Unmet::Precondition(_)) => return Err(CommitError::Conflict.into()),
            Err(unmet) => Some(unmet),
        };
        if course.rest.changes.is_empty() && course.rest.operation.is_none() && !course.rest.reset {
            self.settle_relied_on(course).await?;
            return Ok(true);
        }
        if let Some(unmet) = impossible {
            // The changes before the impossible one would be a legal prefix; none of them is stored, as by others.
            let (key, reason) = (format!("{:?}", course.rest.scope), unmet.to_string());
            return Err(CommitError::Rejected { key, reason }.into());
        }
        let known = self.mirror().known(&course.rest.scope);
        if let Place::Slot(service, _) = &place
            && plan::is_behind(&known, service, self.writer.cell(), course.rest.at)
        {
            self.confirm_open(course).await?;
            let (changes, after, at) = (&[][..], &base, course.rest.at);
            let part = Part { changes, reset: false, after, at, operation: None, cell: self.writer.cell() };
            self.write_directory(course, &part).await?;
            return Ok(false);
        }
        let mut now = course.rest.clone();
        now.changes.truncate(count);
        let last = count == course.rest.changes.len();
        let operation = course.rest.operation.clone().filter(|_| last);
        let Ok(after) = base.apply(&now) else { return Err(Stop::Again) };
        let part = Part {
            changes: &now.changes,
            reset: now.reset,
            after: &after,
            at: now.at,
            operation: operation.as_ref(),
            cell: self.writer.cell(),
        };
        match place {
            Place::Directory => {
                self.confirm_open(course).await?;
                self.write_directory(course, &part).await?;
                course.done.extend(now.changes);
                course.reset |= now.reset;
            }
            Place::Slot(service, id) => self.write_slot(course, &part, (&service, &id)).await?,
        }
        course.rest.preconditions.clear();
        course.rest.reset = false;
        course.rest.changes.drain(..count);
        course.after = Some(after);
        if last {
            self.confirm_open(course).await?;
        }
        Ok(last)
    }

    async fn write_directory(&self, course: &mut Course, part: &Part<'_>) -> Result<(), Stop> {
        let known = self.mirror().known(&course.rest.scope);
        let (mut directory, values) = part.directory(&known, || self.fresh());
        let is_kept = |(id, (incarnation, _)): (&ServiceId, &(_, Name))| {
            directory.services.get(id).is_some_and(|(after, _)| after == incarnation)
        };
        let gone: BTreeSet<_> = known
            .directory
            .services
            .iter()
            .filter(|entry| !is_kept(*entry))
            .map(|(id, _)| id.clone())
            .collect();
        // A reset takes instances with their services: who registers one looks for the service after.
        if !part.reset && !gone.is_empty() && (course.marked.is_none() || course.marked != known.version) {
            self.mark(course, gone).await?;
            // Decided again, upon the slots that were listed.
            return Err(Stop::Again);
        }
        for (name, value) in values {
            let value = Write { name, guard: None, payload: Some(Payload::Value(value)) };
            match self.write(&value).await? {
                Written::As(version) => {
                    let Some(payload) = value.payload else { continue };
                    self.mirror().put(&Object { name: value.name, version, payload });
                }
                Written::Before(_) | Written::Stale => return Err(Stop::Again),
            }
        }
        directory.closing.clear();
        self.replace(course, directory, known.version).await
    }

    /// Replaces the directory of this version.
    async fn replace(
        &self,
        course: &mut Course,
        directory: Directory,
        guard: Option<u64>,
    ) -> Result<(), Stop> {
        let name = Directory::name(&directory.scope);
        let write = Write { name, guard, payload: Some(Payload::Directory(Arc::new(directory))) };
        match self.write(&write).await? {
            Written::As(version) => {
                let Some(payload) = write.payload else { return Ok(()) };
                self.mirror().put(&Object { name: write.name, version, payload });
                Ok(())
            }
            Written::Before(_) => {
                course.disturbed = true;
                // With the values of those who were next: what is stored has to be shown.
                self.read_directory(&course.rest.scope).await.map_err(|_| CommitError::Ambiguous)?;
                Ok(())
            }
            Written::Stale => Err(Stop::Again),
        }
    }

    /// Marks services as closing, and lists their slots.
    async fn mark(&self, course: &mut Course, services: BTreeSet<ServiceId>) -> Result<(), Stop> {
        let known = self.mirror().known(&course.rest.scope);
        let prefixes: Vec<_> = known
            .directory
            .services
            .iter()
            .filter(|(id, _)| services.contains(*id))
            .map(|(_, (incarnation, _))| Slot::prefix(&course.rest.scope, *incarnation))
            .collect();
        if !services.is_subset(&known.directory.closing) {
            let directory = self.with_closing(&known.directory, services.clone());
            self.replace(course, directory, known.version).await?;
        }
        let known = self.mirror().known(&course.rest.scope);
        if !services.is_subset(&known.directory.closing) {
            return Err(Stop::Again);
        }
        let mut in_use = Vec::new();
        for prefix in &prefixes {
            let (objects, revision) = self.ask(|| self.world.list(self.number, Kind::Slot, prefix)).await?;
            in_use.extend(objects.iter().filter_map(|object| match &object.payload {
                Payload::Slot(slot) if plan::is_in_use(slot, self.writer.cell(), course.rest.at) => {
                    slot.recent.last().cloned()
                }
                _ => None,
            }));
            self.mirror().listed(Kind::Slot, prefix, &objects, revision);
        }
        if in_use.is_empty() {
            course.marked = known.version;
            return Ok(());
        }
        // The services stay, so what is in them counts.
        let directory = self.with_closing(&known.directory, BTreeSet::new());
        self.replace(course, directory, known.version).await?;
        let mut mirror = self.mirror();
        for nonce in &in_use {
            mirror.confirm(nonce);
        }
        Ok(())
    }

    pub(crate) fn with_closing(&self, directory: &Directory, closing: BTreeSet<ServiceId>) -> Directory {
        let mut directory = Directory { closing, ..directory.clone() };
        directory.recent.push(self.fresh(), Vec::new());
        directory
    }

    async fn write_slot(
        &self,
        course: &mut Course,
        part: &Part<'_>,
        (service, id): (&ServiceId, &InstanceId),
    ) -> Result<(), Stop> {
        let scope = course.rest.scope.clone();
        if course.open.iter().any(|open| open.slot.service == *service && open.slot.id == *id) {
            self.confirm_open(course).await?;
        }
        let found = part.slot((&scope, service, id), &self.mirror(), || self.fresh());
        let change = part.changes.first().cloned();
        let Some((name, slot)) = found else {
            if !course.fresh {
                return Err(Stop::Again);
            }
            course.done.extend(change);
            return match part.operation {
                // It changes nothing and is still to be found.
                Some(_) => {
                    let known = self.mirror().known(&scope);
                    let (directory, _) = part.directory(&known, || self.fresh());
                    self.replace(course, directory, known.version).await
                }
                None => Ok(()),
            };
        };
        let relied_on = plan::is_at(&course.rest, service).then(|| self.mirror().value_of(&scope, service));
        let before = self.mirror().slot(&name).map(|(version, slot)| (version, Arc::clone(slot)));
        let guard = before.as_ref().map(|(version, _)| *version);
        let (slot, nonce) = (Arc::new(slot.clone()), slot.recent.last().cloned().unwrap_or_default());
        // Before it can be seen.
        self.mirror().doubt(&nonce, &name);
        let write = Write { name: name.clone(), guard, payload: Some(Payload::Slot(Arc::clone(&slot))) };
        let guarded = match self.write(&write).await? {
            Written::As(version) => {
                let payload = Payload::Slot(Arc::clone(&slot));
                self.mirror().put(&Object { name: name.clone(), version, payload });
                Some((version, relied_on.flatten()))
            }
            Written::Before(object) => {
                course.disturbed = true;
                self.mirror().put(&object);
                None
            }
            Written::Stale => {
                self.mirror().confirm(&nonce);
                return Err(Stop::Again);
            }
        };
        let before = before.map(|(_, slot)| slot);
        course.open.extend(change.map(|change| Open { nonce, name, slot, change, before, guarded }));
        Ok(())
    }

    /// Reads from the store all that the rest of the set is about.
    async fn refresh(&self, course: &mut Course) -> Result<(), CommitError> {
        let scope = course.rest.scope.clone();
        self.read_directory(&scope).await?;
        let reads = plan::reads(&course.rest, &self.mirror());
        let incarnation = |service: &ServiceId| self.mirror().incarnation(&scope, service);
        let names: BTreeSet<_> = reads
            .slots
            .iter()
            .filter_map(|(service, id)| Some(Slot::name(&scope, incarnation(service)?, id)))
            .collect();
        for name in names {
            let (object, revision) = self.ask(|| self.world.get(self.number, &name)).await?;
            match object {
                Some(object) => self.mirror().put(&object),
                None => self.mirror().remove(Kind::Slot, &name, revision),
            }
        }
        let children = reads.children.iter().filter_map(incarnation);
        let mut prefixes: Vec<_> = children.map(|service| Slot::prefix(&scope, service)).collect();
        prefixes.extend(reads.everything.then(|| Slot::all(&scope)));
        for prefix in prefixes {
            let (objects, revision) = self.ask(|| self.world.list(self.number, Kind::Slot, &prefix)).await?;
            self.mirror().listed(Kind::Slot, &prefix, &objects, revision);
        }
        // A write in doubt may be this request's own, from a commit before.
        if course.is_untouched() {
            self.settle().await?;
        }
        course.fresh = true;
        course.after = None;
        if course.is_untouched() {
            let mut mirror = self.mirror();
            self.show(&mut mirror);
        } else {
            course.disturbed = true;
        }
        Ok(())
    }

    /// Reads the directory, and the values in it that are not here.
    pub(crate) async fn read_directory(&self, scope: &Scope) -> Result<(), CommitError> {
        let name = Directory::name(scope);
        'again: for _ in 0..ROUNDS {
            let (Some(object), _) = self.ask(|| self.world.get(self.number, &name)).await? else {
                return Ok(());
            };
            let Payload::Directory(directory) = &object.payload else { return Ok(()) };
            let missing = self.mirror().missing(directory);
            for name in missing {
                let (Some(value), _) = self.ask(|| self.world.get(self.number, &name)).await? else {
                    // Swept: there is a newer directory.
                    continue 'again;
                };
                self.mirror().put(&value);
            }
            self.mirror().put(&object);
            return Ok(());
        }
        Err(unavailable())
    }

    /// Asks until there is an answer.
    pub(crate) async fn ask<T, F>(&self, request: impl Fn() -> F) -> Result<T, CommitError>
    where
        F: Future<Output = Result<T, Refusal>>,
    {
        for _ in 0..TRIES {
            if let Ok(answer) = request().await {
                return Ok(answer);
            }
        }
        Err(unavailable())
    }

    /// Writes an object until it is known what came of it.
    pub(crate) async fn write(&self, write: &Write) -> Result<Written, CommitError> {
        let recent = write.payload.as_ref().and_then(Payload::recent);
        let nonce = recent.and_then(Recent::last);
        let mut in_doubt = false;
        for _ in 0..TRIES {
            match self.world.write(self.number, write).await {
                Ok(version) => return Ok(Written::As(version)),
                Err(Refusal::Unavailable) => {}
                Err(Refusal::Timeout) => in_doubt = true,
                Err(Refusal::Stale) if !in_doubt => return Ok(Written::Stale),
                Err(Refusal::Stale) => {
                    let (object, _) = self
                        .ask(|| self.world.get(self.number, &write.name))
                        .await
                        .map_err(|_| CommitError::Ambiguous)?;
                    let found = object.as_ref().and_then(|object| object.payload.recent());
                    let (Some(nonce), Some(found)) = (nonce, found) else {
                        // A value, or an object that was swept: nobody else writes what has this name.
                        return Ok(object.map_or(Written::Stale, |object| Written::As(object.version)));
                    };
                    let count = recent.map_or(0, |recent| recent.count);
                    return match object {
                        Some(object) if found.last() == Some(nonce) => Ok(Written::As(object.version)),
                        Some(object) if found.has(nonce) => Ok(Written::Before(object)),
                        // Too many have written since to tell.
                        _ if found.count >= count + Recent::KEPT as u64 => Err(CommitError::Ambiguous),
                        _ => Ok(Written::Stale),
                    };
                }
            }
        }
        Err(if in_doubt { CommitError::Ambiguous } else { unavailable() })
    }

    /// Deletes what can never count: values of directories that were never written, slots of services that are gone, and
    /// tombstones, all of them when they are older than any request.
    pub(crate) async fn sweep(&self, age: u64) -> Result<(), CommitError> {
        let every = String::new();
        let mut all = self.ask(|| self.world.list(self.number, Kind::Value, &every)).await?.0;
        let (slots, revision) = self.ask(|| self.world.list(self.number, Kind::Slot, &every)).await?;
        all.extend(slots.into_iter().filter(|object| object.version + age <= revision));
        // After the lists.
        let (directories, _) = self.ask(|| self.world.list(self.number, Kind::Directory, &every)).await?;
        let find = |scope: &Scope| {
            directories.iter().find_map(|object| match &object.payload {
                Payload::Directory(directory) if directory.scope == *scope => {
                    Some((object.version, directory))
                }
                _ => None,
            })
        };
        for object in all {
            let lives = match &object.payload {
                Payload::Value(value) => find(&value.scope).is_none_or(|(version, directory)| {
                    version <= value.base || directory.values().any(|name| *name == object.name)
                }),
                Payload::Slot(slot) => {
                    slot.is_in_use() && find(&slot.scope).is_some_and(|(_, directory)| directory.has(slot))
                }
                Payload::Directory(_) => true,
            };
            if !lives {
                let delete = Write { name: object.name, guard: Some(object.version), payload: None };
                // What has changed in between is looked at another time.
                let _ = self.world.write(self.number, &delete).await;
            }
        }
        Ok(())
    }
}
