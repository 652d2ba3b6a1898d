//! The order in which the records of an instance change.

use super::entry::Contribution;

/// A record that an instance gains or loses.
#[derive(Debug)]
pub(super) struct Step {
    /// The key of the record's name.
    pub(super) key: Box<[u8]>,
    /// Whether the instance gains any record of this name.
    name_gains: bool,
    /// Whether the record is added, rather than removed.
    pub(super) adds: bool,
    pub(super) contribution: Contribution,
}

/// The steps from the records before to the records after. Those of one name are adjacent, additions first.
///
/// The order ensures that an SRV record always points to a name that exists, which is longer than its own. First come the
/// names that gain records, longer ones before shorter ones. Then come the names that only lose records, shorter ones
/// before longer ones.
pub(super) fn steps(
    removed: Vec<(Box<[u8]>, Contribution)>,
    added: Vec<(Box<[u8]>, Contribution)>,
) -> Vec<Step> {
    let mut steps = Vec::with_capacity(removed.len() + added.len());
    steps.extend(removed.into_iter().map(|(key, contribution)| {
        let name_gains = added.iter().any(|(gaining, _)| *gaining == key);
        Step { key, name_gains, adds: false, contribution }
    }));
    steps.extend(added.into_iter().map(|(key, contribution)| Step {
        key,
        name_gains: true,
        adds: true,
        contribution,
    }));
    steps.sort_by(|a, b| {
        let shorter_first = a.key.len().cmp(&b.key.len());
        let by_length = if a.name_gains { shorter_first.reverse() } else { shorter_first };
        let gaining_first = b.name_gains.cmp(&a.name_gains);
        let additions_first = b.adds.cmp(&a.adds);
        gaining_first.then(by_length).then_with(|| a.key.cmp(&b.key)).then(additions_first)
    });
    steps
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, net::Ipv4Addr};

    use sd_core::model::RoutingPolicy;

    use super::*;
    use crate::name_table::{
        entry::Data,
        lookup_name::key_of,
        record_set::{SrvData, Terms},
        zones::ZoneKey,
    };

    const WEB: &[u8] = b"\x03web";
    const INSTANCE: &[u8] = b"\x02v1";

    /// The records of an instance of `web` in a zone, with or without each record type.
    fn records(zone: ZoneKey, a: bool, srv: bool) -> Vec<(Box<[u8]>, Contribution)> {
        let terms = Terms { ttl: 60, policy: RoutingPolicy::Multivalue };
        let of = |name: &[u8], data| (key_of(zone, name), Contribution { data, routable: true, terms });
        let address = Ipv4Addr::new(10, 0, 0, 1);
        let target = SrvData {
            port: 80,
            target: INSTANCE.into(),
            ipv4: Some(address),
            ipv6: None,
            may_share_target: false,
        };
        let mut records = Vec::new();
        if srv {
            records.push(of(&[INSTANCE, WEB].concat(), Data::A(address)));
            records.push(of(WEB, Data::Srv(target)));
        }
        if a {
            records.push(of(WEB, Data::A(address)));
        }
        records
    }

    /// The key of the name that an SRV record points to.
    fn target((key, contribution): &(Box<[u8]>, Contribution)) -> Option<Box<[u8]>> {
        let Data::Srv(srv) = &contribution.data else { return None };
        let (zone, name) = key.split_at(size_of::<ZoneKey>());
        Some([zone, &srv.target, name].concat().into())
    }

    #[test]
    fn an_srv_record_always_points_to_a_name_that_exists() {
        let mut states: Vec<_> = [1, 2]
            .into_iter()
            .flat_map(|zone| {
                [(false, false), (true, false), (false, true), (true, true)]
                    .map(|(a, srv)| records(zone, a, srv))
            })
            .collect();
        // Names of the same length do not mix.
        states.push([records(1, true, true), records(2, true, true)].concat());
        for before in &states {
            for after in &states {
                let mut current = before.clone();
                let mut changed = HashSet::new();
                for of_name in steps(before.clone(), after.clone()).chunk_by(|a, b| a.key == b.key) {
                    assert!(changed.insert(of_name[0].key.clone()), "the steps of a name are adjacent");
                    assert!(of_name.is_sorted_by_key(|step| !step.adds), "additions come first");
                    for step in of_name {
                        let record = (step.key.clone(), step.contribution.clone());
                        if step.adds {
                            current.push(record);
                        } else {
                            let place = current.iter().position(|present| *present == record).unwrap();
                            current.remove(place);
                        }
                    }
                    for target in current.iter().filter_map(target) {
                        assert!(current.iter().any(|(key, _)| *key == target), "{before:?} to {after:?}");
                    }
                }
                assert_eq!(current.len(), after.len());
                assert!(after.iter().all(|record| current.contains(record)));
            }
        }
    }
}
