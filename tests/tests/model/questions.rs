//! Compares every DNS answer with the world: `resolve`, explanations, messages, and DiscoverInstances.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, Ipv6Addr},
};

use async_trait::async_trait;
use hickory_proto::{
    op::{Message, Query, ResponseCode},
    rr::{Name, RData, RecordType as Kind},
    serialize::binary::BinEncodable,
};
use proptest::{prelude::*, test_runner::TestCaseError};
use sd_core::{
    Scope, dns,
    dns::{Candidate, LeftOut, Outcome, RecordData, View},
    model::{DnsName, HealthStatus, RecordType},
    request::DiscoverInstancesRequest,
};
use sd_dns::{AliasAddresses, AliasResolver, Reply, Transport};

use crate::{
    dns::{Answer, Choice, Data, Record, TYPES},
    side_by_side::{SideBySide, Verdict},
};

/// An answered record: name, type, TTL and data. An alias has the TTL of its target, so it has none here.
type Told = (String, &'static str, Option<u32>, Data);

/// The load balancer that aliases point to, outside of all zones, and its addresses.
pub(crate) const BALANCER: &str = "lb.example.net";
const BALANCER_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const BALANCER_V6: Ipv6Addr = Ipv6Addr::LOCALHOST;

#[derive(Debug)]
pub(crate) struct Balancers;

#[async_trait]
impl AliasResolver for Balancers {
    async fn resolve(
        &self,
        target: &DnsName,
        _: RecordType,
    ) -> Result<AliasAddresses, Box<dyn std::error::Error + Send + Sync>> {
        match plain(target).as_str() {
            BALANCER => Ok(AliasAddresses::new(1, [BALANCER_V4.into(), BALANCER_V6.into()])),
            _ => Err("unknown load balancer".into()),
        }
    }
}

/// An answer of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Given {
    Records(Vec<Told>),
    /// CNAME records that lead to no record, and the negative answer.
    Nothing(Vec<Told>, Box<Self>),
    NoData(String, u32),
    NxDomain(String, u32),
    Refused,
}

impl Given {
    fn negative(chain: Vec<Told>, negative: Self) -> Self {
        if chain.is_empty() { negative } else { Self::Nothing(chain, Box::new(negative)) }
    }
}

const _: () = assert!(TYPES.len() == RecordType::ALL.len(), "the model lacks a record type");

fn record_type(kind: &str) -> RecordType {
    RecordType::ALL.into_iter().find(|found| found.as_str() == kind).unwrap()
}

fn plain(name: &impl ToString) -> String {
    let name = name.to_string().to_ascii_lowercase();
    name.strip_suffix('.').unwrap_or(&name).to_owned()
}

impl SideBySide {
    pub(crate) fn ask(&self) -> Verdict {
        let records = self.world.records();
        for name in self.world.questions(&records) {
            for kind in TYPES {
                let expected = self.world.resolve(&records, &name, kind, &self.bound.namespaces, &[]);
                let resolved = self.resolved(&name, kind);
                is_answer(&resolved, &expected, kind)?;
                self.is_explained(&resolved, &name, kind)?;
                let answered = self.answered(&name, kind)?;
                is_answer(&answered, &expected, kind)?;
            }
        }
        self.discovered(&records)
    }

    /// Asserts that the explanation agrees with the answer: its outcome, and the eligible instances.
    fn is_explained(&self, given: &Given, name: &str, kind: &str) -> Verdict {
        let kind = record_type(kind);
        let explanation = self.cloud_map.explain(&View::default(), &DnsName::parse(name).unwrap(), kind);
        let told: &[Told] = match given {
            Given::Records(told) | Given::Nothing(told, _) => told,
            Given::NoData(..) | Given::NxDomain(..) | Given::Refused => &[],
        };
        let cname = told.first().is_some_and(|first| first.1 == "CNAME") && kind != RecordType::Cname;
        let outcome = match given {
            Given::Refused => Outcome::NoZone,
            Given::NxDomain(..) => Outcome::NoName,
            Given::NoData(..) => Outcome::NoType,
            Given::Records(_) | Given::Nothing(..) if cname => Outcome::AnsweredByCname,
            Given::Records(_) | Given::Nothing(..) => Outcome::Answered,
        };
        prop_assert_eq!(explanation.outcome, outcome, "{} {}: {:?}", name, kind.as_str(), given);
        let kind = if cname { RecordType::Cname } else { kind };
        let eligible: Vec<_> = self.records_of(explanation.eligible(), name, kind);
        let here = told.iter().filter(|record| (&*record.0, record.1) == (name, kind.as_str()));
        for (.., data) in here.clone() {
            prop_assert!(eligible.contains(data), "{}: {:?} is not eligible: {}", name, data, explanation);
        }
        prop_assert!(here.count() <= explanation.limit);
        prop_assert!(told.is_empty() == eligible.is_empty());
        // Candidates left out for other reasons than health have no such record.
        let others = explanation.candidates.iter();
        let others = others.filter(|other| !matches!(other.left_out, None | Some(LeftOut::Health)));
        prop_assert!(self.records_of(others, name, kind).is_empty(), "{}", explanation);
        Ok(())
    }

    /// The data that candidates have for a name and type.
    fn records_of<'c>(
        &self,
        candidates: impl Iterator<Item = &'c Candidate>,
        name: &str,
        kind: RecordType,
    ) -> Vec<Data> {
        let state = self.cloud_map.state();
        let here = state.scope(&Scope::default());
        let records = candidates.flat_map(|candidate| {
            let service = here.service(candidate.service.as_str()).unwrap();
            let namespace = here.namespace(service.service().namespace_id.as_str()).unwrap();
            let instance = service.instances().get(candidate.instance.as_str()).unwrap();
            dns::records_of(instance.instance(), service.service(), namespace.namespace())
        });
        let records = records.filter(|record| plain(&record.owner) == name);
        let records = records.filter(|record| record.data.record_type() == kind);
        records.map(|record| data(&record.data)).collect()
    }

    fn resolved(&self, name: &str, kind: &str) -> Given {
        let name = DnsName::parse(name).unwrap();
        let kind = record_type(kind);
        let told = |records: Vec<dns::Record>| -> Vec<Told> {
            let told = records.into_iter().map(|record| {
                let (kind, data) = (record.data.record_type().as_str(), data(&record.data));
                (plain(&record.owner), kind, Some(record.ttl), data)
            });
            told.collect()
        };
        match self.cloud_map.resolve(&View::default(), &name, kind) {
            dns::Answer::Records(found) => Given::Records(told(found)),
            dns::Answer::NoData { chain, zone, soa_ttl } => {
                Given::negative(told(chain), Given::NoData(plain(&zone), soa_ttl))
            }
            dns::Answer::NxDomain { chain, zone, soa_ttl } => {
                Given::negative(told(chain), Given::NxDomain(plain(&zone), soa_ttl))
            }
            dns::Answer::Refused => Given::Refused,
        }
    }

    /// The answer in a DNS message.
    fn answered(&self, name: &str, kind: &str) -> Result<Given, TestCaseError> {
        let kind = match kind {
            "A" => Kind::A,
            "AAAA" => Kind::AAAA,
            "CNAME" => Kind::CNAME,
            _ => Kind::SRV,
        };
        let mut message = Message::query();
        message.add_query(Query::query(Name::from_ascii(format!("{name}.")).unwrap(), kind));
        let mut out = Vec::new();
        let reply = self.answerer.answer(&message.to_bytes().unwrap(), Transport::Tcp, &mut out);
        prop_assert_eq!(reply, Reply::Written);
        let message = Message::from_vec(&out).unwrap();
        let soa = message.authorities.iter().find_map(|record| match &record.data {
            RData::SOA(soa) => Some((plain(&record.name), record.ttl, soa.minimum)),
            _ => None,
        });
        prop_assert!(soa.as_ref().is_none_or(|(_, ttl, minimum)| ttl == minimum));
        let soa = soa.map(|(zone, ttl, _)| (zone, ttl));
        let told = message.answers.iter().filter_map(|record| {
            let (kind, data) = match &record.data {
                RData::A(address) if address.0 == BALANCER_V4 => ("A", Data::Alias(BALANCER.to_owned())),
                RData::A(address) => ("A", Data::A(address.0)),
                RData::AAAA(address) if address.0 == BALANCER_V6 => {
                    ("AAAA", Data::Alias(BALANCER.to_owned()))
                }
                RData::AAAA(address) => ("AAAA", Data::Aaaa(address.0)),
                RData::CNAME(target) => ("CNAME", Data::Cname(plain(&target.0))),
                RData::SRV(srv) if (srv.priority, srv.weight) == (1, 1) => {
                    ("SRV", Data::Srv(srv.port, plain(&srv.target)))
                }
                _ => return None,
            };
            // A message has the TTL of an alias's target, `resolve` that of its service.
            let ttl = if matches!(data, Data::Alias(_)) { None } else { Some(record.ttl) };
            Some((plain(&record.name), kind, ttl, data))
        });
        let told: Vec<_> = told.collect();
        prop_assert_eq!(told.len(), message.answers.len());
        let negative = match (message.metadata.response_code, soa) {
            (ResponseCode::Refused, None) => Given::Refused,
            (ResponseCode::NXDomain, Some((zone, ttl))) => Given::NxDomain(zone, ttl),
            (ResponseCode::NoError, Some((zone, ttl))) => Given::NoData(zone, ttl),
            (ResponseCode::NoError, None) => return Ok(Given::Records(told)),
            _ => return Err(TestCaseError::fail(format!("{message}"))),
        };
        Ok(Given::negative(told, negative))
    }

    /// Asserts that DNS and DiscoverInstances find the same instances. For each record type, DNS does what
    /// HEALTHY_OR_ELSE_ALL does.
    fn discovered(&self, records: &[Record]) -> Verdict {
        for service in &self.world.services {
            let (Some(name), Some((_, types))) = (self.world.name_of(service), &service.dns) else {
                continue;
            };
            let number = service.key.0;
            // Skips names that another zone answers for. Instances of another service may have the name too.
            let answers = self.world.zone_of(&name, &self.bound.namespaces);
            let own = types.iter().filter(|(kind, _)| *kind != "CNAME");
            if answers.is_none_or(|(namespace, _)| namespace.number != number) {
                continue;
            }
            let id = &self.bound.namespaces[&number];
            let request = sd_core::request::GetNamespaceRequest::new(id);
            let http_name = self.api.get_namespace(&request).unwrap().namespace.http_name.clone();
            for (kind, _) in own {
                let here =
                    |record: &&Record| record.zone == number && record.name == name && record.kind == *kind;
                let from_instances = records.iter().filter(here).count();
                let discover = |status: &str| {
                    let request = DiscoverInstancesRequest::new(http_name.as_str(), service.name);
                    let request = request.with_health_status(status).with_max_results(1000);
                    let found = self.api.discover_instances(&request).unwrap().instances;
                    let data = found.iter().filter_map(|instance| {
                        let get = |key| instance.attributes.get(key);
                        let alias = get("AWS_ALIAS_DNS_NAME").map(|target| Data::Alias(target.to_owned()));
                        let data = match *kind {
                            "A" | "AAAA" if alias.is_some() => alias?,
                            "A" => Data::A(get("AWS_INSTANCE_IPV4")?.parse().unwrap()),
                            "AAAA" => Data::Aaaa(get("AWS_INSTANCE_IPV6")?.parse().unwrap()),
                            _ => {
                                let target = DnsName::parse(&format!("{}.{name}", instance.id)).ok()?;
                                Data::Srv(get("AWS_INSTANCE_PORT")?.parse().unwrap(), plain(&target))
                            }
                        };
                        Some((data, instance.health != HealthStatus::Unhealthy))
                    });
                    data.collect::<Vec<_>>()
                };
                let all = discover("ALL");
                if all.len() != from_instances {
                    continue;
                }
                // DNS chooses among the instances that have the record, the API among all instances.
                let offered = discover("HEALTHY_OR_ELSE_ALL");
                let offered = if offered.iter().any(|(_, routable)| *routable) { offered } else { all };
                let offered: BTreeSet<_> = offered.into_iter().map(|(data, _)| data).collect();
                let told: BTreeSet<_> = match self.answered(&name, kind)? {
                    Given::Records(told) => told.into_iter().map(|(.., data)| data).collect(),
                    _ => BTreeSet::new(),
                };
                prop_assert!(told.is_subset(&offered), "{} {}: {:?} of {:?}", name, kind, told, offered);
                prop_assert_eq!(told.is_empty(), offered.is_empty());
                if !service.dns.as_ref().is_some_and(|(weighted, _)| *weighted) {
                    prop_assert_eq!(told.len(), offered.len().min(8));
                }
            }
        }
        Ok(())
    }
}

fn data(data: &RecordData) -> Data {
    match data {
        RecordData::A(address) => Data::A(*address),
        RecordData::Aaaa(address) => Data::Aaaa(*address),
        RecordData::Cname(target) => Data::Cname(plain(target)),
        RecordData::Srv { port, target } => Data::Srv(*port, plain(target)),
        RecordData::Alias { target, .. } => Data::Alias(plain(target)),
    }
}

fn target((.., data): &Told) -> Option<&String> {
    match data {
        Data::Cname(target) => Some(target),
        _ => None,
    }
}

/// Asserts that the engine's answer is one that the world expects.
fn is_answer(given: &Given, expected: &Answer, kind: &str) -> Verdict {
    let same = match (given, expected) {
        (Given::Records(told), Answer::Records(choice)) => is_choice(told, choice, kind),
        (Given::Records(told) | Given::Nothing(told, _), Answer::Alias(alias, behind)) => {
            let Some((first, rest)) = told.split_first() else {
                return Err(TestCaseError::fail(format!("{kind}: got {given:?}, expected {expected:?}")));
            };
            let found = target(first).and_then(|target| behind.get(target));
            let goes_on = match (given, found) {
                // The CNAME leads out of the zones, into a loop, or beyond the limit.
                (Given::Records(_), None | Some(Answer::Refused)) => rest.is_empty(),
                (Given::Records(_), Some(found)) => {
                    is_answer(&Given::Records(rest.to_vec()), found, kind).is_ok()
                }
                (Given::Nothing(_, negative), Some(found)) => match rest {
                    [] => is_answer(negative, found, kind).is_ok(),
                    _ => {
                        let given = Given::Nothing(rest.to_vec(), negative.clone());
                        is_answer(&given, found, kind).is_ok()
                    }
                },
                _ => false,
            };
            is_choice(std::slice::from_ref(first), alias, "CNAME") && goes_on
        }
        (Given::NoData(zone, ttl), Answer::NoData(expected, expected_ttl))
        | (Given::NxDomain(zone, ttl), Answer::NxDomain(expected, expected_ttl)) => {
            (zone, ttl) == (expected, expected_ttl)
        }
        (Given::Refused, Answer::Refused) => true,
        _ => false,
    };
    prop_assert!(same, "{kind}: got {given:?}, expected {expected:?}");
    Ok(())
}

/// Whether the records are different ones of the choice, and as many as it expects.
fn is_choice(told: &[Told], choice: &Choice, kind: &str) -> bool {
    let data: BTreeMap<_, _> = told.iter().map(|told| (&told.3, told)).collect();
    // An alias is the only record of an answer, and is left out where there are addresses.
    let is_alias = |data: &&Data| matches!(data, Data::Alias(_));
    let addresses = choice.from.len() - choice.from.iter().filter(is_alias).count();
    let right_number = match told {
        [] => false,
        [(.., Data::Alias(_))] => true,
        _ => !data.keys().any(is_alias) && told.len() == choice.count.min(addresses),
    };
    data.len() == told.len()
        && right_number
        && told.iter().all(|(name, of, ttl, data)| {
            *name == choice.name
                && *of == kind
                && ttl.is_none_or(|ttl| ttl == choice.ttl)
                && choice.from.contains(data)
        })
}
