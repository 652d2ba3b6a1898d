//! Looking in the store: whether what was written counts, and what others have written.

use std::{collections::BTreeSet, sync::Arc};

use sd_core::{CommitError, Scope, model::EntityKey, store::Lookup};

use crate::{
    commit::{Course, Open, ROUNDS, Stop, Written, unavailable},
    objects::{Directory, Kind, Name, Payload, Slot},
    plan,
    replica::Core,
    store::{Object, Write},
};

impl Core {
    /// Finds out whether the slots that were written count: whether their services were there after, and were what they
    /// relied on.
    pub(crate) async fn confirm_open(&self, course: &mut Course) -> Result<(), CommitError> {
        let slots: Vec<_> = course.open.iter().map(|open| Arc::clone(&open.slot)).collect();
        if slots.is_empty() {
            return Ok(());
        }
        let scope = course.rest.scope.clone();
        let (directory, opened) = self.directory_after(&scope, &slots).await?;
        course.disturbed |= opened;
        let mut result = Ok(());
        for open in std::mem::take(&mut course.open) {
            if !directory.has(&open.slot) {
                result = Err(CommitError::Conflict);
                continue;
            }
            let value = directory.services.get(&open.slot.service).map(|(_, name)| name);
            let is_other =
                |(_, relied_on): &&(u64, Option<Name>)| relied_on.is_some() && relied_on.as_ref() != value;
            if let Some((version, _)) = open.guarded.as_ref().filter(is_other)
                && self.take_back(course, &open, *version).await?
            {
                result = Err(CommitError::Conflict);
                continue;
            }
            self.mirror().confirm(&open.nonce);
            course.done.push(open.change);
        }
        result
    }

    /// Replaces a slot by what was there before, unless others have written upon it: then it counts. Whether it was replaced.
    async fn take_back(&self, course: &mut Course, open: &Open, version: u64) -> Result<bool, CommitError> {
        let mut slot = match &open.before {
            Some(before) => (**before).clone(),
            None => Slot { instance: None, pending: None, ..(*open.slot).clone() },
        };
        slot.recent = open.slot.recent.clone();
        slot.recent.take_back(&open.nonce);
        slot.recent.push(self.fresh(), Vec::new());
        let payload = Payload::Slot(Arc::new(slot));
        let write = Write { name: open.name.clone(), guard: Some(version), payload: Some(payload.clone()) };
        course.disturbed = true;
        match self.write(&write).await? {
            Written::As(version) => {
                self.mirror().put(&Object { name: open.name.clone(), version, payload });
                Ok(true)
            }
            Written::Before(object) => {
                self.mirror().put(&object);
                Ok(true)
            }
            Written::Stale => Ok(false),
        }
    }

    /// Before an answer that rests on slots as they are: marks them, so that nobody takes them back, and looks for their
    /// services after that.
    pub(crate) async fn settle_relied_on(&self, course: &mut Course) -> Result<(), Stop> {
        let scope = course.rest.scope.clone();
        let places = plan::relied_on(&course.rest, &self.mirror());
        let mut slots = Vec::new();
        for (service, id) in places {
            let Some(incarnation) = self.mirror().incarnation(&scope, &service) else { continue };
            let name = Slot::name(&scope, incarnation, &id);
            let Some((version, slot)) =
                self.mirror().slot(&name).map(|(version, slot)| (version, Arc::clone(slot)))
            else {
                continue;
            };
            if !self.mirror().shown(&name).is_some_and(|shown| Arc::ptr_eq(shown, &slot)) {
                // What is shown in its place is a write of this replica that it does not know enough of.
                self.settle().await?;
                return Err(Stop::Again);
            }
            slots.push(Arc::clone(&slot));
            if slot.settled {
                continue;
            }
            let mut settled = Slot { settled: true, ..(*slot).clone() };
            settled.recent.push(self.fresh(), Vec::new());
            let payload = Payload::Slot(Arc::new(settled));
            let write = Write { name: name.clone(), guard: Some(version), payload: Some(payload.clone()) };
            match self.write(&write).await? {
                Written::As(version) => self.mirror().put(&Object { name, version, payload }),
                Written::Before(_) | Written::Stale => return Err(Stop::Again),
            }
        }
        if slots.is_empty() {
            return Ok(());
        }
        let (directory, opened) = self.directory_after(&scope, &slots).await?;
        course.disturbed |= opened;
        if slots.iter().all(|slot| directory.has(slot)) { Ok(()) } else { Err(CommitError::Conflict.into()) }
    }

    /// The directory as it is after these slots were written, in which nobody is about to delete their services. Whether
    /// anything in it was not known.
    async fn directory_after(
        &self,
        scope: &Scope,
        slots: &[Arc<Slot>],
    ) -> Result<(Arc<Directory>, bool), CommitError> {
        let before = self.mirror().known(scope).version;
        for _ in 0..ROUNDS {
            self.read_directory(scope).await?;
            let known = self.mirror().known(scope);
            let directory = &known.directory;
            if !slots.iter().any(|slot| directory.has(slot) && directory.closing.contains(&slot.service)) {
                return Ok((Arc::clone(directory), known.version != before));
            }
            let open = self.with_closing(directory, BTreeSet::new());
            let name = Directory::name(scope);
            let payload = Some(Payload::Directory(Arc::new(open)));
            // If somebody is quicker, the next look will tell.
            self.write(&Write { name, guard: known.version, payload }).await?;
        }
        Err(unavailable())
    }

    /// Finds out about slots that were left unconfirmed.
    pub(crate) async fn settle(&self) -> Result<(), CommitError> {
        let doubtful = self.mirror().doubtful();
        for (nonce, slot) in doubtful {
            let (directory, _) = self.directory_after(&slot.scope, &[Arc::clone(&slot)]).await?;
            let mut mirror = self.mirror();
            if directory.has(&slot) {
                mirror.confirm(&nonce);
            }
            self.show(&mut mirror);
        }
        Ok(())
    }

    /// Reads what these facts are about, and shows it. An operation may be in any slot of its scope.
    pub(crate) async fn look_for(&self, scope: &Scope, facts: &[Lookup]) -> Result<(), CommitError> {
        self.read_directory(scope).await?;
        let prefix = |service| {
            let incarnation = self.mirror().incarnation(scope, service)?;
            Some(Slot::prefix(scope, incarnation))
        };
        for fact in facts {
            let prefix = match fact {
                Lookup::Entity(EntityKey::Instance(service, id)) => {
                    let Some(incarnation) = self.mirror().incarnation(scope, service) else { continue };
                    Some(Slot::name(scope, incarnation, id))
                }
                Lookup::Children(EntityKey::Service(service)) => prefix(service),
                Lookup::Operation(_) => Some(Slot::all(scope)),
                Lookup::Entity(_) | Lookup::Children(_) => None,
            };
            let Some(prefix) = prefix else { continue };
            let (objects, revision) = self.ask(|| self.world.list(self.number, Kind::Slot, &prefix)).await?;
            self.mirror().listed(Kind::Slot, &prefix, &objects, revision);
        }
        // What was found is no older than the directory; the services of new slots may be.
        self.read_directory(scope).await?;
        let mut mirror = self.mirror();
        self.show(&mut mirror);
        Ok(())
    }
}
