//! Namespaces and services: created in two writes, deleted by mark, list and write.

use std::sync::Arc;

use sd_core::{
    CommitError, Scope, StateWriter, Timestamp,
    conformance::BoxFuture,
    model::{EntityKey, Namespace, NamespaceId, OperationId, ServiceId, UniqueKey},
    state::Precondition,
};

use crate::{
    commit::{Course, Stop, Written},
    mirror::Seen,
    objects::{
        Entity, Kind, Link, Name, Phase, Spec, claim_name, namespace_name, operation_name, service_name,
        slot_prefix,
    },
    plan::{self, Part},
    replica::Core,
};

/// How often somebody else may be quicker before a set begins again.
const ATTEMPTS: usize = 4;
/// How many creations are finished for one that they are in the way of.
const HELPED: u8 = 3;

/// What has become of a creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Created {
    /// It is complete, and may have ended since.
    Active,
    /// Given up: somebody has a key, or the parent takes no children.
    Lost,
    /// Given up by somebody else.
    Gone,
    /// Others were quicker.
    Again,
}

/// The names of the claims of a namespace.
fn claims(scope: &Scope, namespace: &Namespace) -> Vec<Name> {
    let keys = namespace.unique_keys().into_iter().filter(|key| !matches!(key, UniqueKey::Id(_)));
    keys.map(|key| claim_name(scope, &key)).collect()
}

/// A failure after a creation or a reset was begun: another replica may finish it.
pub(crate) fn begun(error: CommitError) -> CommitError {
    match error {
        CommitError::Unavailable { .. } => CommitError::Ambiguous,
        error => error,
    }
}

impl Core {
    pub(crate) async fn write_namespace(
        &self,
        course: &mut Course,
        part: &Part<'_>,
        id: &NamespaceId,
    ) -> Result<(), Stop> {
        let (name, key) = (namespace_name(part.scope, id), EntityKey::Namespace(id.clone()));
        let known = self.mirror().namespace(part.scope, id);
        if part.change.is_some_and(plan::deletes) {
            return self.delete_parent(course, part, (&name, &key), known).await;
        }
        let Some(known) = known else {
            let mut spec = Spec::new(part.scope, part.at, self.life());
            let begun = part.begun();
            let namespace = match begun {
                Some(pending) => plan::created(pending).cloned(),
                None => {
                    part.after.scope(part.scope).namespace(id.as_str()).map(|it| Arc::clone(it.namespace()))
                }
            };
            let Some(namespace) = namespace else { return self.finish_alone(part).await };
            spec.keys = claims(part.scope, &namespace);
            spec.entity = if begun.is_some() { Entity::None } else { Entity::Namespace(namespace) };
            spec.pending = begun.cloned();
            Self::claim_in_creation(course, part, &mut spec);
            return self.create(course, part, &name, spec).await;
        };
        self.update(course, part, (&name, &key), known).await
    }

    /// An operation without an entity, which may hold a key of one in creation.
    pub(crate) async fn begin_alone(
        &self,
        course: &mut Course,
        part: &Part<'_>,
        id: &OperationId,
    ) -> Result<(), Stop> {
        let name = operation_name(part.scope, id);
        let known = self.mirror().object(&name);
        if let Some(known) = known.filter(|known| known.spec.counts()) {
            let ended = part.begun().is_none();
            let next = self.edit(&known.spec, part.finished(), |spec| {
                if ended {
                    (spec.phase, spec.pending) = (Phase::Gone, None);
                }
            });
            return self.replace(course, &name, known.version, next).await.map(drop);
        }
        let mut spec = Spec::new(part.scope, part.at, self.life());
        spec.pending = part.begun().cloned();
        if spec.pending.is_none() {
            return self.finish_alone(part).await;
        }
        Self::claim_in_creation(course, part, &mut spec);
        self.create(course, part, &name, spec).await
    }

    /// Adds the key that only one creation under way may have.
    fn claim_in_creation(course: &Course, part: &Part<'_>, spec: &mut Spec) {
        let relied_on = course.rest.preconditions.iter().filter_map(|precondition| match precondition {
            Precondition::Free(key) => Some(key),
            _ => None,
        });
        let claimed = part.begun().into_iter().flat_map(|pending| &pending.claims);
        let mut keys =
            relied_on.chain(claimed).filter(|key| matches!(key, UniqueKey::NamespaceInCreation(_)));
        spec.in_creation = keys.next().map(|key| claim_name(part.scope, key));
        spec.keys.extend(spec.in_creation.clone());
        spec.keys.sort();
    }

    /// Creates a namespace, or an operation without an entity.
    async fn create(
        &self,
        course: &mut Course,
        part: &Part<'_>,
        name: &Name,
        mut spec: Spec,
    ) -> Result<(), Stop> {
        spec.phase = Phase::Creating;
        let Some(seen) = self.begin_creation(course, part, name, spec).await? else { return Ok(()) };
        let created = self.complete(name, &seen, |seen| self.advance(part.at, name, seen, 0)).await;
        match created.map_err(begun)? {
            Created::Active => {
                // The claim of the creation does not hold any more. Any other replica may delete it as well.
                if let Some(claim) = seen.spec.in_creation.as_ref().filter(|_| seen.spec.pending.is_none()) {
                    let known = self.mirror().object(claim);
                    if let Some(known) = known.filter(|known| known.spec.is_child_of(seen.spec.life)) {
                        self.delete(claim, known.version).await;
                    }
                }
                Ok(())
            }
            Created::Lost if course.rest.preconditions.is_empty() => {
                let (key, reason) = (name.clone(), "another namespace has a key of it".to_owned());
                Err(CommitError::Rejected { key, reason }.into())
            }
            Created::Lost | Created::Gone | Created::Again => Err(Stop::Again),
        }
    }

    /// Writes an object in creation, over the tombstone of a predecessor if there is one. `None` if others have completed it.
    async fn begin_creation(
        &self,
        course: &mut Course,
        part: &Part<'_>,
        name: &Name,
        mut spec: Spec,
    ) -> Result<Option<Seen>, Stop> {
        let there = self.mirror().object(name);
        if let Some(there) = &there {
            if there.spec.phase != Phase::Gone {
                self.help(part.at, name, there).await?;
                course.disturbed = true;
                return Err(Stop::Again);
            }
            spec.recent = there.spec.recent.clone();
        }
        let life = spec.life;
        let spec = self.edit(&spec, part.finished(), |_| ());
        match self.write(name, there.map(|seen| seen.version), spec).await? {
            Written::As(seen) => Ok(Some(seen)),
            Written::Before(seen) if seen.spec.life == life && seen.spec.phase == Phase::Creating => {
                Ok(Some(seen))
            }
            Written::Before(seen) if seen.spec.life == life => {
                course.disturbed = true;
                Ok(None)
            }
            Written::Before(_) => Err(Stop::Again),
            Written::Stale => {
                if let Some(found) = self.get(name).await? {
                    self.help(part.at, name, &found).await?;
                }
                course.disturbed = true;
                Err(Stop::Again)
            }
        }
    }

    /// Tries to complete a creation as long as others are quicker.
    async fn complete<F>(
        &self,
        name: &Name,
        seen: &Seen,
        attempt: impl Fn(Seen) -> F,
    ) -> Result<Created, CommitError>
    where
        F: Future<Output = Result<Created, CommitError>>,
    {
        let mut seen = seen.clone();
        let life = seen.spec.life;
        for _ in 0..ATTEMPTS {
            match attempt(seen).await? {
                Created::Again => {}
                created => return Ok(created),
            }
            match self.get(name).await? {
                Some(found) if found.spec.life == life && found.spec.phase == Phase::Creating => seen = found,
                Some(found) if found.spec.life == life => return Ok(Created::Active),
                _ => return Ok(Created::Gone),
            }
        }
        Ok(Created::Again)
    }

    /// Finishes a creation that any replica has begun.
    pub(crate) async fn help(&self, at: Timestamp, name: &Name, seen: &Seen) -> Result<Created, CommitError> {
        if seen.spec.phase != Phase::Creating {
            return Ok(Created::Again);
        }
        if Kind::of(name) == Kind::Service {
            self.activate(at, name, seen.clone(), None).await
        } else {
            self.advance(at, name, seen.clone(), 0).await
        }
    }

    /// Takes the claims of a namespace in creation, in their order, and makes it active. Creators and helpers do the same.
    fn advance<'a>(
        &'a self,
        at: Timestamp,
        name: &'a Name,
        seen: Seen,
        depth: u8,
    ) -> BoxFuture<'a, Result<Created, CommitError>> {
        Box::pin(async move {
            if depth == HELPED {
                return Ok(Created::Again);
            }
            for key in &seen.spec.keys {
                match self.take(at, name, &seen, key, depth).await? {
                    Created::Active => {}
                    other => return Ok(other),
                }
            }
            self.make_active(name, &seen).await
        })
    }

    /// Takes one claim: `Active` if the namespace has it.
    async fn take(
        &self,
        at: Timestamp,
        name: &Name,
        seen: &Seen,
        key: &Name,
        depth: u8,
    ) -> Result<Created, CommitError> {
        let spec = &seen.spec;
        for _ in 0..ATTEMPTS {
            let mut claim = Spec::new(&spec.scope, spec.at, self.life());
            claim.parent = Some(Link { name: name.clone(), life: spec.life });
            let written = self.write(key, None, self.edit(&claim, Vec::new(), |_| ())).await?;
            if let Written::As(_) | Written::Before(_) = written {
                return Ok(Created::Active);
            }
            let Some(held) = self.get(key).await? else { continue };
            let Some(owner) = held.spec.parent.clone() else { continue };
            if owner.life == spec.life {
                return Ok(Created::Active);
            }
            // The owner is read after the claim, because a life that has ended takes no claim again.
            let found = self.get(&owner.name).await?;
            let Some(other) = found.filter(|it| it.spec.life == owner.life && it.spec.phase != Phase::Gone)
            else {
                self.delete(key, held.version).await;
                continue;
            };
            if other.spec.phase == Phase::Creating {
                self.advance(at, &owner.name, other, depth + 1).await?;
                continue;
            }
            if other.spec.is_due(at) {
                self.store_due(&owner.name, &other, at).await?;
                continue;
            }
            if other.spec.in_creation.as_ref() == Some(key) && other.spec.entity != Entity::None {
                self.delete(key, held.version).await;
                continue;
            }
            return self.give_up(name, seen).await;
        }
        Ok(Created::Again)
    }

    /// Not deleted: the same write, late, would begin it anew.
    pub(crate) async fn give_up(&self, name: &Name, seen: &Seen) -> Result<Created, CommitError> {
        let gone = self.edit(&seen.spec, Vec::new(), |spec| {
            (spec.phase, spec.life, spec.entity, spec.pending) = (Phase::Gone, 0, Entity::None, None);
            if let Some(creation) = spec.recent.last().cloned() {
                spec.recent.take_back(&creation);
            }
        });
        match self.write(name, Some(seen.version), gone).await? {
            Written::Stale => self.own(name, seen.spec.life).await,
            Written::As(_) | Written::Before(_) => Ok(Created::Lost),
        }
    }

    async fn make_active(&self, name: &Name, seen: &Seen) -> Result<Created, CommitError> {
        // Between the two writes: a reset that this does not find finds the creation.
        let resets = self.read_resets(&seen.spec.scope).await?;
        let active = self.edit(&seen.spec, Vec::new(), |spec| {
            (spec.phase, spec.resets) = (Phase::Active, resets);
        });
        match self.write(name, Some(seen.version), active).await? {
            Written::As(_) | Written::Before(_) => Ok(Created::Active),
            Written::Stale => self.own(name, seen.spec.life).await,
        }
    }

    /// What has become of something in creation that somebody else has written.
    async fn own(&self, name: &Name, life: u64) -> Result<Created, CommitError> {
        Ok(match self.get(name).await? {
            Some(found) if found.spec.life == life && found.spec.phase == Phase::Creating => Created::Again,
            Some(found) if found.spec.life == life => Created::Active,
            _ => Created::Gone,
        })
    }

    pub(crate) async fn write_service(
        &self,
        course: &mut Course,
        part: &Part<'_>,
        id: &ServiceId,
    ) -> Result<(), Stop> {
        let (name, key) = (service_name(part.scope, id), EntityKey::Service(id.clone()));
        let known = self.mirror().service(part.scope, id);
        if part.change.is_some_and(plan::deletes) {
            return self.delete_parent(course, part, (&name, &key), known).await;
        }
        if let Some(known) = known {
            return self.update(course, part, (&name, &key), known).await;
        }
        let here = part.after.scope(part.scope);
        let Some(service) = here.service(id.as_str()).map(|entry| Arc::clone(entry.service())) else {
            return self.finish_alone(part).await;
        };
        let Some(parent) = self.mirror().namespace(part.scope, &service.namespace_id) else {
            return Err(Stop::Again);
        };
        let parent_key = EntityKey::Namespace(service.namespace_id.clone());
        let relied_on = plan::is_at(&course.rest, &parent_key).then(|| parent.spec.version_at(part.at));
        let mut spec = Spec::new(part.scope, part.at, self.life());
        spec.phase = Phase::Creating;
        let parent_name = namespace_name(part.scope, &service.namespace_id);
        spec.parent = Some(Link { name: parent_name, life: parent.spec.life });
        spec.entity = Entity::Service(service);
        let Some(seen) = self.begin_creation(course, part, &name, spec).await? else { return Ok(()) };
        let created =
            self.complete(&name, &seen, |seen| self.activate(part.at, &name, seen, relied_on)).await;
        match created.map_err(begun)? {
            Created::Active => Ok(()),
            Created::Lost | Created::Gone | Created::Again => Err(Stop::Again),
        }
    }

    /// Looks at the namespace and makes a service in creation active. Creators and helpers do the same.
    async fn activate(
        &self,
        at: Timestamp,
        name: &Name,
        seen: Seen,
        relied_on: Option<u64>,
    ) -> Result<Created, CommitError> {
        let Some(link) = &seen.spec.parent else { return Ok(Created::Gone) };
        for _ in 0..ATTEMPTS {
            let parent = self.get(&link.name).await?;
            let parent = parent.filter(|parent| parent.spec.life == link.life && parent.spec.counts());
            let Some(parent) = parent else { return self.give_up(name, &seen).await };
            if parent.spec.is_due(at) {
                self.store_due(&link.name, &parent, at).await?;
                continue;
            }
            let is_going = parent.spec.pending.as_ref().is_some_and(|pending| {
                pending.effect.iter().any(plan::deletes) || parent.spec.entity == Entity::None
            });
            if is_going || relied_on.is_some_and(|version| version != parent.spec.version_at(at)) {
                return self.give_up(name, &seen).await;
            }
            if parent.spec.phase == Phase::Closing {
                let open = self.edit(&parent.spec, Vec::new(), |spec| spec.phase = Phase::Active);
                if let Written::Stale = self.write(&link.name, Some(parent.version), open).await? {
                    continue;
                }
            }
            return self.make_active(name, &seen).await;
        }
        Ok(Created::Again)
    }

    /// Replaces a namespace or service by what it is after the part.
    async fn update(
        &self,
        course: &mut Course,
        part: &Part<'_>,
        (name, key): (&Name, &EntityKey),
        known: Seen,
    ) -> Result<(), Stop> {
        let goes =
            known.spec.pending.as_ref().is_some_and(|pending| pending.effect.iter().any(plan::deletes));
        if goes && known.spec.is_due(part.at) {
            self.store_due(name, &known, part.at).await?;
            course.disturbed = true;
            return Err(Stop::Again);
        }
        let mut next = part.write(&known.spec, key, self.fresh());
        next.phase = Phase::Active;
        let Entity::Namespace(namespace) = &next.entity else {
            return self.replace(course, name, known.version, next).await.map(drop);
        };
        let mut keys = claims(part.scope, namespace);
        keys.extend(next.in_creation.clone());
        keys.sort();
        let former = std::mem::replace(&mut next.keys, keys);
        for key in next.keys.iter().filter(|key| !former.contains(key)) {
            self.claim(name, &known.spec, key).await?;
        }
        let kept = next.keys.clone();
        self.replace(course, name, known.version, next).await?;
        for key in former.iter().filter(|key| !kept.contains(key)) {
            self.unclaim(key, known.spec.life).await;
        }
        Ok(())
    }

    /// Takes another claim for a namespace that exists. The API renames nothing, but a set may.
    async fn claim(&self, name: &Name, spec: &Spec, key: &Name) -> Result<(), Stop> {
        let mut claim = Spec::new(&spec.scope, spec.at, self.life());
        claim.parent = Some(Link { name: name.clone(), life: spec.life });
        if let Written::Stale = self.write(key, None, self.edit(&claim, Vec::new(), |_| ())).await?
            && !self.get(key).await?.is_some_and(|held| held.spec.is_child_of(spec.life))
        {
            let (key, reason) = (key.clone(), "another namespace has it".to_owned());
            return Err(CommitError::Rejected { key, reason }.into());
        }
        Ok(())
    }

    /// Deletes a claim of this life, if it can be reached.
    async fn unclaim(&self, key: &Name, life: u64) {
        if let Ok(Some(held)) = self.get(key).await
            && held.spec.is_child_of(life)
        {
            self.delete(key, held.version).await;
        }
    }

    /// Replaces a version of an object.
    async fn replace(
        &self,
        course: &mut Course,
        name: &Name,
        version: u64,
        spec: Spec,
    ) -> Result<Seen, Stop> {
        match self.write(name, Some(version), spec).await? {
            Written::As(seen) => Ok(seen),
            Written::Before(seen) => {
                course.disturbed = true;
                Ok(seen)
            }
            Written::Stale => Err(Stop::Again),
        }
    }

    /// Marks a namespace or service, lists its children, and deletes it or takes the mark off.
    async fn delete_parent(
        &self,
        course: &mut Course,
        part: &Part<'_>,
        (name, key): (&Name, &EntityKey),
        known: Option<Seen>,
    ) -> Result<(), Stop> {
        let Some(mut seen) = known else { return self.finish_alone(part).await };
        if seen.spec.is_due(part.at) {
            self.store_due(name, &seen, part.at).await?;
            course.disturbed = true;
            return Err(Stop::Again);
        }
        if seen.spec.phase == Phase::Active {
            let closing = self.edit(&seen.spec, Vec::new(), |spec| spec.phase = Phase::Closing);
            seen = self.replace(course, name, seen.version, closing).await?;
        }
        if seen.spec.phase != Phase::Closing {
            return Err(Stop::Again);
        }
        if self.has_children(part, name, &seen).await? {
            let open = self.edit(&seen.spec, Vec::new(), |spec| spec.phase = Phase::Active);
            self.write(name, Some(seen.version), open).await?;
            return Err(Stop::Again);
        }
        let mut next = part.write(&seen.spec, key, self.fresh());
        next.phase = if part.begun().is_some() { Phase::Active } else { Phase::Gone };
        if next.phase == Phase::Gone {
            next.pending = None;
        }
        let seen = self.replace(course, name, seen.version, next).await?;
        if seen.spec.phase == Phase::Gone {
            self.release(&seen.spec).await;
        }
        Ok(())
    }

    /// Whether a parent that was marked has children. What is half-way is finished.
    async fn has_children(&self, part: &Part<'_>, name: &Name, seen: &Seen) -> Result<bool, CommitError> {
        let life = seen.spec.life;
        if Kind::of(name) == Kind::Namespace {
            let services = self.list(Kind::Service, &Kind::Service.prefix(part.scope)).await?;
            let mut found = false;
            for (name, child) in services.iter().filter(|(_, child)| child.spec.is_child_of(life)) {
                found |= child.spec.counts();
                found |= self.help(part.at, name, child).await? == Created::Active;
            }
            return Ok(found);
        }
        let slots = self.list(Kind::Instance, &slot_prefix(part.scope, life)).await?;
        let in_use = slots.iter().filter(|(_, slot)| plan::is_in_use(&slot.spec, part.cell, part.at));
        let in_use: Vec<_> = in_use.filter_map(|(_, slot)| slot.spec.recent.last().cloned()).collect();
        // The service stays, so what is in it counts.
        let mut mirror = self.mirror();
        in_use.iter().for_each(|nonce| mirror.confirm(nonce));
        Ok(!in_use.is_empty())
    }

    /// Deletes the claims of a deleted namespace, as far as the store can be reached.
    pub(crate) async fn release(&self, spec: &Spec) {
        for key in &spec.keys {
            self.unclaim(key, spec.life).await;
        }
    }

    /// Stores what an operation that is due has come to, in its place. If somebody is quicker, the next read will tell.
    pub(crate) async fn store_due(&self, name: &Name, seen: &Seen, at: Timestamp) -> Result<(), CommitError> {
        let state = {
            let mut mirror = self.mirror();
            let (state, _) = mirror.state(self.writer.cell());
            let state = StateWriter::new(state);
            state.cell().advance(at.max(mirror.at));
            state.cell().load().clone()
        };
        let key = seen.spec.key().or_else(|| {
            let namespace = seen.spec.pending.as_ref().and_then(|pending| plan::created(pending))?;
            Some(EntityKey::Namespace(namespace.id.clone()))
        });
        let part = Part {
            scope: &seen.spec.scope,
            at,
            change: None,
            after: &state,
            operation: None,
            cell: self.writer.cell(),
        };
        let nowhere = || EntityKey::Namespace(NamespaceId::parse("ns-aaaaaaaaaaaaaaaa").expect("an id"));
        let mut next = part.write(&seen.spec, &key.clone().unwrap_or_else(nowhere), self.fresh());
        let goes = seen.spec.pending.as_ref().is_some_and(|pending| pending.effect.iter().any(plan::deletes));
        if Kind::of(name) != Kind::Instance && (goes || key.is_none()) {
            (next.phase, next.entity) = (Phase::Gone, Entity::None);
        }
        if let Written::As(seen) = self.write(name, Some(seen.version), next).await?
            && seen.spec.phase == Phase::Gone
        {
            self.release(&seen.spec).await;
        }
        Ok(())
    }
}
