//! Resets of a scope.

use sd_core::{CommitError, Scope};

use crate::{
    commit::{Course, ROUNDS, Stop, Written},
    mirror::Seen,
    objects::{Entity, Kind, Name, Phase, Spec, resets_name},
    parents::begun,
    replica::Core,
};

impl Core {
    /// How many resets of a scope there were.
    pub(crate) async fn read_resets(&self, scope: &Scope) -> Result<u64, CommitError> {
        Ok(self.get(&resets_name(scope)).await?.map_or(0, |seen| seen.spec.resets))
    }

    /// Deletes everything in a scope. The marker comes first, so that what is created from then on belongs to what follows.
    pub(crate) async fn reset(&self, course: &mut Course) -> Result<(), Stop> {
        let (scope, at) = (course.rest.scope.clone(), course.rest.at);
        let name = resets_name(&scope);
        let known = self.get(&name).await?;
        let marker = match &known {
            Some(seen) => (*seen.spec).clone(),
            None => Spec::new(&scope, at, self.life()),
        };
        let raised = self.edit(&marker, Vec::new(), |spec| spec.resets += 1);
        if let Written::Stale = self.write(&name, known.map(|seen| seen.version), raised).await? {
            return Err(Stop::Again);
        }
        for _ in 0..ROUNDS {
            let mut is_empty = true;
            for kind in [Kind::Namespace, Kind::Operation] {
                for (name, seen) in self.list(kind, &kind.prefix(&scope)).await.map_err(begun)? {
                    if seen.spec.phase != Phase::Gone {
                        is_empty = false;
                        self.take_down(&name, seen).await.map_err(begun)?;
                    }
                }
            }
            if is_empty {
                return Ok(());
            }
        }
        Err(CommitError::Ambiguous.into())
    }

    /// Deletes a namespace with its services, or an operation without an entity. If somebody is quicker, the next list tells.
    async fn take_down(&self, name: &Name, mut seen: Seen) -> Result<(), CommitError> {
        if seen.spec.phase == Phase::Creating {
            return self.give_up(name, &seen).await.map(drop);
        }
        if seen.spec.phase == Phase::Active {
            let closing = self.edit(&seen.spec, Vec::new(), |spec| spec.phase = Phase::Closing);
            match self.write(name, Some(seen.version), closing).await? {
                Written::As(marked) => seen = marked,
                Written::Before(_) | Written::Stale => return Ok(()),
            }
        }
        let gone = |spec: &mut Spec| {
            (spec.phase, spec.entity, spec.pending) = (Phase::Gone, Entity::None, None);
        };
        let services = self.list(Kind::Service, &Kind::Service.prefix(&seen.spec.scope)).await?;
        for (name, child) in services {
            if !child.spec.is_child_of(seen.spec.life) || child.spec.phase == Phase::Gone {
                continue;
            }
            if child.spec.phase == Phase::Creating {
                self.give_up(&name, &child).await?;
                continue;
            }
            let next = self.edit(&child.spec, Vec::new(), gone);
            if let Written::Stale = self.write(&name, Some(child.version), next).await? {
                return Ok(());
            }
        }
        let next = self.edit(&seen.spec, Vec::new(), gone);
        if let Written::As(seen) = self.write(name, Some(seen.version), next).await? {
            self.release(&seen.spec).await;
        }
        Ok(())
    }
}
