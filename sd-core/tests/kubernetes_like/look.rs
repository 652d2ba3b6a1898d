//! Looking in the store: whether what was written counts, and what others have written.

use std::{collections::BTreeSet, sync::Arc};

use sd_core::{
    CommitError, Scope,
    model::{EntityKey, ServiceId},
    store::Lookup,
};

use crate::{
    commit::{Course, Open, ROUNDS, Stop, Written, unavailable},
    objects::{
        Entity, Kind, Link, Name, Phase, Spec, namespace_name, resets_name, service_name, slot_prefix,
    },
    plan::{self, Reads},
    replica::Core,
};

impl Core {
    /// Finds out whether the instances that were written count: whether their services were there after, and were what they
    /// relied on.
    pub(crate) async fn confirm_open(&self, course: &mut Course) -> Result<(), CommitError> {
        let mut result = Ok(());
        while let Some(open) = course.open.first() {
            let service = match &open.spec.parent {
                // The write was sent, and whether it counts is not known.
                Some(link) => self.look(link).await.map_err(|_| CommitError::Ambiguous)?,
                None => None,
            };
            let open = course.open.remove(0);
            let Some(service) = service else {
                // It counts for nobody, and neither does its operation.
                if let Some((version, _)) = open.guarded {
                    let _ = self.take_back(&open, version).await;
                }
                course.disturbed = true;
                result = Err(CommitError::Conflict);
                continue;
            };
            let is_other = |relied_on: u64| relied_on != service.version_at(course.rest.at);
            if let Some((version, Some(relied_on))) = open.guarded
                && is_other(relied_on)
            {
                course.disturbed = true;
                if self.take_back(&open, version).await.map_err(|_| CommitError::Ambiguous)? {
                    result = Err(CommitError::Conflict);
                    continue;
                }
            }
            self.mirror().confirm(&open.nonce);
            course.done.push(open.change);
        }
        result
    }

    /// Replaces an instance by what was there before, unless others have written upon it: then it counts. Whether it was
    /// replaced.
    async fn take_back(&self, open: &Open, version: u64) -> Result<bool, CommitError> {
        let mut spec = match &open.before {
            Some(before) => (**before).clone(),
            None => Spec { entity: Entity::None, pending: None, ..(*open.spec).clone() },
        };
        spec.recent = open.spec.recent.clone();
        spec.recent.take_back(&open.nonce);
        let spec = self.edit(&spec, Vec::new(), |_| ());
        match self.write(&open.name, Some(version), spec).await? {
            Written::As(_) | Written::Before(_) => Ok(true),
            Written::Stale => self.get(&open.name).await.map(|_| false),
        }
    }

    /// A service as it is after a write in it, which takes off the mark of a deleter. `None` if it does not have that life.
    pub(crate) async fn look(&self, link: &Link) -> Result<Option<Arc<Spec>>, CommitError> {
        for _ in 0..ROUNDS {
            let seen = self.get(&link.name).await?;
            let Some(seen) = seen.filter(|seen| seen.spec.life == link.life && seen.spec.counts()) else {
                return Ok(None);
            };
            if seen.spec.phase == Phase::Closing {
                let open = self.edit(&seen.spec, Vec::new(), |spec| spec.phase = Phase::Active);
                if let Written::Stale = self.write(&link.name, Some(seen.version), open).await? {
                    continue;
                }
            }
            return Ok(Some(seen.spec));
        }
        Err(unavailable())
    }

    /// Before an answer that rests on instances as they are: marks them, so that nobody takes them back, and looks at their
    /// services after that.
    pub(crate) async fn settle_relied_on(&self, course: &mut Course) -> Result<(), Stop> {
        let scope = course.rest.scope.clone();
        let places = plan::relied_on(&course.rest, &self.mirror());
        for (service, id) in places {
            let Some(name) = self.mirror().slot_name(&scope, &service, &id) else { continue };
            let Some(seen) = self.mirror().object(&name) else { continue };
            let is_shown = self.mirror().shown(&name).is_some_and(|shown| Arc::ptr_eq(shown, &seen.spec));
            if !is_shown {
                // What is shown instead is a write of this replica that it does not know enough of.
                self.settle().await?;
                return Err(Stop::Again);
            }
            if !seen.spec.settled {
                let settled = self.edit(&seen.spec, Vec::new(), |spec| spec.settled = true);
                match self.write(&name, Some(seen.version), settled).await? {
                    Written::As(_) => {}
                    Written::Before(_) | Written::Stale => return Err(Stop::Again),
                }
            }
            let Some(link) = &seen.spec.parent else { continue };
            if self.look(link).await?.is_none() {
                return Err(CommitError::Conflict.into());
            }
        }
        Ok(())
    }

    /// Finds out about instances that were left unconfirmed.
    pub(crate) async fn settle(&self) -> Result<(), CommitError> {
        let doubtful = self.mirror().doubtful();
        for (nonce, spec) in doubtful {
            let Some(link) = &spec.parent else { continue };
            let found = self.look(link).await?;
            let mut mirror = self.mirror();
            if found.is_some() {
                mirror.confirm(&nonce);
            }
            self.show(&mut mirror);
        }
        Ok(())
    }

    /// Reads from the store all that the rest of the set is about.
    pub(crate) async fn refresh(&self, course: &mut Course) -> Result<(), CommitError> {
        let scope = course.rest.scope.clone();
        let reads = Reads::of(&course.rest, &self.mirror());
        self.read(&scope, &reads).await?;
        if course.is_untouched() {
            // A write in doubt may be this request's own, from a commit before.
            self.settle().await?;
            let mut mirror = self.mirror();
            self.show(&mut mirror);
        }
        course.has_read();
        Ok(())
    }

    async fn read(&self, scope: &Scope, reads: &Reads) -> Result<(), CommitError> {
        self.read_resets(scope).await?;
        if reads.everything {
            for kind in [Kind::Namespace, Kind::Service, Kind::Instance, Kind::Operation] {
                self.list(kind, &kind.prefix(scope)).await?;
            }
        }
        let mut owners: BTreeSet<Name> =
            reads.namespaces.iter().map(|id| namespace_name(scope, id)).collect();
        for name in &reads.claims {
            if let Some(seen) = self.get(name).await?
                && let Some(owner) = &seen.spec.parent
            {
                owners.insert(owner.name.clone());
            }
        }
        let mut services: BTreeSet<&ServiceId> = reads.services.iter().collect();
        services.extend(reads.slots.iter().map(|(service, _)| service));
        for parent in &reads.parents {
            match parent {
                EntityKey::Namespace(id) => {
                    self.list(Kind::Service, &Kind::Service.prefix(scope)).await?;
                    owners.insert(namespace_name(scope, id));
                }
                EntityKey::Service(id) => {
                    services.insert(id);
                }
                EntityKey::Instance(..) => {}
            }
        }
        for id in services {
            let seen = self.get(&service_name(scope, id)).await?;
            // A service is shown with its namespace.
            owners.extend(seen.and_then(|seen| seen.spec.parent.as_ref().map(|link| link.name.clone())));
        }
        for name in owners {
            self.get(&name).await?;
        }
        for (service, id) in &reads.slots {
            let name = self.mirror().slot_name(scope, service, id);
            if let Some(name) = name {
                self.get(&name).await?;
            }
        }
        for parent in &reads.parents {
            if let EntityKey::Service(id) = parent
                && let Some(life) = self.life_of(scope, id)
            {
                self.list(Kind::Instance, &slot_prefix(scope, life)).await?;
            }
        }
        Ok(())
    }

    fn life_of(&self, scope: &Scope, service: &ServiceId) -> Option<u64> {
        self.mirror().service(scope, service).map(|seen| seen.spec.life)
    }

    /// Reads what these facts are about, and shows it. An operation may be in any object of its scope.
    pub(crate) async fn look_for(&self, scope: &Scope, facts: &[Lookup]) -> Result<(), CommitError> {
        let mut reads = Reads::default();
        for fact in facts {
            match fact {
                Lookup::Entity(key) => reads.entity(key),
                Lookup::Children(key) => reads.parents.push(key.clone()),
                Lookup::Operation(_) => reads.everything = true,
            }
        }
        self.read(scope, &reads).await?;
        self.settle().await?;
        let mut mirror = self.mirror();
        self.show(&mut mirror);
        Ok(())
    }

    /// The collector: finishes what crashes have left, and deletes what can never count. Tombstones go when they are older
    /// than any request, by `age` in revisions.
    pub(crate) async fn sweep(&self, age: u64) -> Result<(), CommitError> {
        let now = self.mirror().at;
        for kind in [Kind::Namespace, Kind::Operation, Kind::Service] {
            for (name, seen) in self.list(kind, &String::new()).await? {
                match seen.spec.phase {
                    Phase::Creating => drop(self.help(now, &name, &seen).await?),
                    Phase::Gone => {}
                    _ if seen.spec.is_due(now) => self.store_due(&name, &seen, now).await?,
                    Phase::Closing => {
                        let open = self.edit(&seen.spec, Vec::new(), |spec| spec.phase = Phase::Active);
                        drop(self.write(&name, Some(seen.version), open).await?);
                    }
                    Phase::Active => {}
                }
            }
        }
        for (name, held) in self.list(Kind::Claim, &String::new()).await? {
            let Some(link) = &held.spec.parent else { continue };
            // The owner after the claim.
            let owner = self.get(&link.name).await?;
            let holds = owner.is_some_and(|owner| {
                let is_done = owner.spec.in_creation.as_ref() == Some(&name)
                    && owner.spec.phase != Phase::Creating
                    && owner.spec.pending.is_none();
                owner.spec.life == link.life && owner.spec.phase != Phase::Gone && !is_done
            });
            if !holds {
                self.delete(&name, held.version).await;
            }
        }
        self.sweep_tombstones(age).await
    }

    async fn sweep_tombstones(&self, age: u64) -> Result<(), CommitError> {
        let name = resets_name(&Scope::default());
        let (_, revision) = self.ask(|| self.world.get(self.number, &name)).await?;
        for kind in [Kind::Instance, Kind::Service, Kind::Namespace, Kind::Operation] {
            for (name, seen) in self.list(kind, &String::new()).await? {
                if seen.version + age > revision {
                    continue;
                }
                let is_tombstone = match &seen.spec.parent {
                    Some(link) if kind == Kind::Instance => {
                        let is_empty = seen.spec.entity == Entity::None && seen.spec.pending.is_none();
                        let service = self.get(&link.name).await?;
                        let lives =
                            |seen: &crate::mirror::Seen| seen.spec.life == link.life && seen.spec.counts();
                        is_empty || !service.as_ref().is_some_and(lives)
                    }
                    _ => seen.spec.phase == Phase::Gone,
                };
                if is_tombstone {
                    self.delete(&name, seen.version).await;
                }
            }
        }
        Ok(())
    }
}
