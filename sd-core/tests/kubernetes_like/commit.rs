//! Storing a set: the protocol of `replica.rs`, step by step.

use std::sync::Arc;

use sd_core::{
    Change, ChangeSet, CommitError, State, StateWriter,
    model::{EntityKey, InstanceId, ServiceId},
    state::Unmet,
};

use crate::{
    mirror::Seen,
    objects::{Entity, Kind, Link, Name, Nonce, Recent, Spec, operation_name, slot_name},
    plan::{self, Part, Place},
    replica::Core,
    store::Write,
    world::Refusal,
};

/// How often a request is sent before it is given up.
const TRIES: usize = 8;
/// How often a set is begun again because others were quicker.
pub(crate) const ROUNDS: usize = 64;

/// What came of a write.
pub(crate) enum Written {
    /// It is there.
    As(Seen),
    /// It was there, and others have written since.
    Before(Seen),
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
    /// Instances that are stored, and whether they count is not known.
    pub(crate) open: Vec<Open>,
    /// What is not stored yet. After the first step it relies on nothing any more.
    pub(crate) rest: ChangeSet,
    /// All that the rest is about was read from the store.
    pub(crate) fresh: bool,
    /// The scope was reset, which is stored and counts.
    pub(crate) reset: bool,
    /// More is in the mirror than what was shown at the start and what is done.
    pub(crate) disturbed: bool,
    /// The state after the last step, as long as nothing else was read.
    after: Option<State>,
}

/// An instance that is stored, and of which it is not known whether it counts.
pub(crate) struct Open {
    pub(crate) nonce: Nonce,
    pub(crate) name: Name,
    pub(crate) spec: Arc<Spec>,
    pub(crate) change: Change,
    /// What was there before.
    pub(crate) before: Option<Arc<Spec>>,
    /// The version that was written, and the version of the service that it relied on, if it relied on one. `None` if others
    /// have written upon it, so that it is not taken back any more.
    pub(crate) guarded: Option<(u64, Option<u64>)>,
}

impl Course {
    fn of(set: &ChangeSet) -> Self {
        let (done, open, rest) = (Vec::new(), Vec::new(), set.clone());
        Self { done, open, rest, fresh: false, reset: false, disturbed: false, after: None }
    }

    pub(crate) fn is_untouched(&self) -> bool {
        self.done.is_empty() && self.open.is_empty() && !self.reset
    }

    /// More was read than what the last step came to.
    pub(crate) fn has_read(&mut self) {
        self.fresh = true;
        self.after = None;
        self.disturbed |= !self.is_untouched();
    }
}

impl Core {
    pub(crate) async fn store(&self, set: ChangeSet) -> Result<(), CommitError> {
        self.mirror().writing = true;
        let mut course = Course::of(&set);
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
        let guarded = plan::is_guarded(&course.rest, &self.mirror());
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

    /// Stores the next change of the set. Whether that was all.
    async fn step(&self, course: &mut Course) -> Result<bool, Stop> {
        let base = self.base(course);
        let impossible = match base.apply(&course.rest) {
            Ok(_) => None,
            Err(_) if !course.fresh => return Err(Stop::Again),
            Err(Unmet::Precondition(_)) => return Err(CommitError::Conflict.into()),
            Err(unmet) => Some(unmet),
        };
        let set = &course.rest;
        if set.changes.is_empty() && set.operation.is_none() && !set.reset {
            self.settle_relied_on(course).await?;
            return Ok(true);
        }
        if let Some(unmet) = impossible {
            // The changes before the impossible one would be a legal prefix; none of them is stored, as by others.
            let (key, reason) = (format!("{:?}", course.rest.scope), unmet.to_string());
            return Err(CommitError::Rejected { key, reason }.into());
        }
        if course.rest.reset {
            self.reset(course).await?;
            course.rest.preconditions.clear();
            (course.rest.reset, course.reset, course.after) = (false, true, None);
            return Ok(course.rest.changes.is_empty() && course.rest.operation.is_none());
        }
        let mut now = course.rest.clone();
        now.changes.truncate(1);
        let is_last = course.rest.changes.len() <= 1;
        let operation = now.operation.take().filter(|_| is_last);
        let Ok(after) = base.apply(&now) else { return Err(Stop::Again) };
        let part = Part {
            scope: &now.scope,
            at: now.at,
            change: now.changes.first(),
            after: &after,
            operation: operation.as_ref(),
            cell: self.writer.cell(),
        };
        self.store_part(course, &part).await?;
        course.rest.preconditions.clear();
        course.rest.changes.drain(..now.changes.len());
        course.after = Some(after);
        if is_last {
            self.confirm_open(course).await?;
        }
        Ok(is_last)
    }

    async fn store_part(&self, course: &mut Course, part: &Part<'_>) -> Result<(), Stop> {
        let place = part.change.map(|change| plan::place(change, &self.mirror(), part.scope));
        if let Some(Place::Slot(service, id)) = place {
            return self.write_slot(course, part, (&service, &id)).await;
        }
        self.confirm_open(course).await?;
        match place {
            Some(Place::Namespace(id)) => self.write_namespace(course, part, &id).await?,
            Some(Place::Service(id)) => self.write_service(course, part, &id).await?,
            Some(Place::Operation(id)) => self.begin_alone(course, part, &id).await?,
            Some(Place::Slot(..) | Place::Nowhere) | None => self.finish_alone(part).await?,
        }
        course.done.extend(part.change.cloned());
        Ok(())
    }

    /// Stores the operation of a part that changes no object.
    pub(crate) async fn finish_alone(&self, part: &Part<'_>) -> Result<(), Stop> {
        let Some(operation) = part.operation else { return Ok(()) };
        let name = operation_name(part.scope, &operation.id);
        let mut spec = Spec::new(part.scope, part.at, self.life());
        spec.phase = crate::objects::Phase::Gone;
        spec.resets = self.read_resets(part.scope).await?;
        let known = self.get(&name).await?;
        if known.as_ref().is_some_and(|seen| seen.spec.finished().any(|found| found.id == operation.id)) {
            return Ok(());
        }
        let guard = known.map(|seen| seen.version);
        match self.write(&name, guard, self.edit(&spec, part.finished(), |_| ())).await? {
            Written::As(_) | Written::Before(_) => Ok(()),
            Written::Stale => Err(Stop::Again),
        }
    }

    /// An object with a change, as the next write of it.
    pub(crate) fn edit(
        &self,
        spec: &Spec,
        finished: Vec<Arc<sd_core::model::Operation>>,
        change: impl FnOnce(&mut Spec),
    ) -> Spec {
        let mut spec = spec.clone();
        change(&mut spec);
        spec.recent.push(self.fresh(), finished);
        spec
    }

    async fn write_slot(
        &self,
        course: &mut Course,
        part: &Part<'_>,
        (service, id): (&ServiceId, &InstanceId),
    ) -> Result<(), Stop> {
        if course.open.iter().any(|open| open.spec.slot.as_ref() == Some(&(service.clone(), id.clone()))) {
            self.confirm_open(course).await?;
        }
        let Some(parent) = self.mirror().service(part.scope, service) else {
            // What does not exist is not deleted, and has no health.
            if !course.fresh {
                return Err(Stop::Again);
            }
            self.finish_alone(part).await?;
            course.done.extend(part.change.cloned());
            return Ok(());
        };
        let parent_name = crate::objects::service_name(part.scope, service);
        if parent.spec.is_due(part.at) {
            self.confirm_open(course).await?;
            self.store_due(&parent_name, &parent, part.at).await?;
            course.disturbed = true;
            return Err(Stop::Again);
        }
        let name = slot_name(part.scope, parent.spec.life, id);
        let key = EntityKey::Instance(service.clone(), id.clone());
        let known = self.mirror().object(&name);
        let before = self.mirror().shown(&name).cloned();
        let mut base = match (&before, &known) {
            (Some(before), _) => (**before).clone(),
            _ => {
                let mut spec = Spec::new(part.scope, part.at, self.life());
                spec.slot = Some((service.clone(), id.clone()));
                spec.parent = Some(Link { name: parent_name, life: parent.spec.life });
                spec
            }
        };
        if let Some(known) = &known {
            base.recent = known.spec.recent.clone();
        }
        let had_anything = base.entity != Entity::None || base.pending.is_some();
        let mut spec = part.write(&base, &key, self.fresh());
        (spec.settled, spec.checks, spec.resets) = (false, parent.spec.checks, parent.spec.resets);
        if !had_anything && spec.entity == Entity::None && spec.pending.is_none() {
            if !course.fresh {
                return Err(Stop::Again);
            }
            self.finish_alone(part).await?;
            course.done.extend(part.change.cloned());
            return Ok(());
        }
        let relied_on = plan::is_at(&course.rest, &EntityKey::Service(service.clone()))
            .then(|| parent.spec.version_at(part.at));
        let nonce = spec.recent.last().cloned().unwrap_or_default();
        // Before it can be seen.
        self.mirror().doubt(&nonce, &name);
        let (guarded, spec) = match self.write(&name, known.as_ref().map(|seen| seen.version), spec).await? {
            Written::As(seen) => (Some((seen.version, relied_on)), seen.spec),
            Written::Before(seen) => {
                course.disturbed = true;
                (None, seen.spec)
            }
            Written::Stale => {
                self.mirror().confirm(&nonce);
                return Err(Stop::Again);
            }
        };
        let before = known.map(|seen| seen.spec).and(before);
        let change = part.change.cloned();
        course.open.extend(change.map(|change| Open { nonce, name, spec, change, before, guarded }));
        Ok(())
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

    /// Reads an object into the mirror.
    pub(crate) async fn get(&self, name: &str) -> Result<Option<Seen>, CommitError> {
        let (object, revision) = self.ask(|| self.world.get(self.number, name)).await?;
        let mut mirror = self.mirror();
        if object.is_none() {
            mirror.remove(name, revision);
        }
        Ok(object.map(|object| mirror.read(&object)))
    }

    /// Reads the objects of a kind whose names begin with `prefix` into the mirror.
    pub(crate) async fn list(&self, kind: Kind, prefix: &Name) -> Result<Vec<(Name, Seen)>, CommitError> {
        let (objects, revision) = self.ask(|| self.world.list(self.number, kind, prefix)).await?;
        Ok(self.mirror().listed(kind, prefix, &objects, revision))
    }

    /// Writes an object until it is known what came of it, and puts it into the mirror.
    pub(crate) async fn write(
        &self,
        name: &str,
        guard: Option<u64>,
        spec: Spec,
    ) -> Result<Written, CommitError> {
        let write = Write { name: name.to_owned(), guard, bytes: Some(spec.to_bytes()) };
        let nonce = spec.recent.last().cloned().unwrap_or_default();
        let mut in_doubt = false;
        for _ in 0..TRIES {
            match self.world.write(self.number, &write).await {
                Ok(version) => {
                    let seen = Seen { version, spec: Arc::new(spec) };
                    self.mirror().put(name, &seen);
                    return Ok(Written::As(seen));
                }
                Err(Refusal::Unavailable) => {}
                Err(Refusal::Timeout) => in_doubt = true,
                Err(Refusal::Stale) if !in_doubt => return Ok(Written::Stale),
                Err(Refusal::Stale) => {
                    let found = self.get(name).await.map_err(|_| CommitError::Ambiguous)?;
                    return match found {
                        Some(seen) if seen.spec.recent.last() == Some(&nonce) => Ok(Written::As(seen)),
                        Some(seen) if seen.spec.recent.has(&nonce) => Ok(Written::Before(seen)),
                        // Too many have written since to tell.
                        Some(seen) if seen.spec.recent.count >= spec.recent.count + Recent::KEPT as u64 => {
                            Err(CommitError::Ambiguous)
                        }
                        _ => Ok(Written::Stale),
                    };
                }
            }
        }
        Err(if in_doubt { CommitError::Ambiguous } else { unavailable() })
    }

    /// Deletes this version of an object, which nobody needs. What has changed in between is looked at another time.
    pub(crate) async fn delete(&self, name: &str, version: u64) {
        let delete = Write { name: name.to_owned(), guard: Some(version), bytes: None };
        let _ = self.world.write(self.number, &delete).await;
    }
}
