//! The DNS door of `sd`: whoever asks for a service's name is answered with the records of its instances.
//!
//! A [`NameTable`] follows a registry, an [`Answerer`] answers messages from it, and a [`DnsServer`] puts sockets before
//! that. Each is of use without the next.
//!
//! ```
//! use std::sync::Arc;
//!
//! use sd_backend_memory::MemoryRegistry;
//! use sd_core::{Blueprint, Scope, SyncCloudMap, model::RecordType};
//! use sd_dns::{Answerer, NameTable, Reply, Transport};
//!
//! let cloud_map = SyncCloudMap::new(MemoryRegistry::new());
//! let table = NameTable::new();
//! let _attached = cloud_map.cell().attach(Arc::new(table.clone()));
//!
//! Blueprint::new()
//!     .private_dns_namespace("app.local", "vpc-1")
//!     .dns_service("web", [(RecordType::A, 60)])
//!     .instance("web-1", [("AWS_INSTANCE_IPV4", "10.0.0.1")])
//!     .apply_sync(&cloud_map.at(Scope::default()))?;
//!
//! // `web.app.local. IN A?`, as a stub resolver sends it.
//! let query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03web\x03app\x05local\x00\x00\x01\x00\x01";
//! let mut answer = Vec::new();
//! assert_eq!(Answerer::new(table).answer(query, Transport::Udp, &mut answer), Reply::Written);
//! // One answer; its data is what the message ends in.
//! assert_eq!(answer[6..8], [0, 1]);
//! assert!(answer.ends_with(&[10, 0, 0, 1]));
//! # Ok::<(), sd_core::blueprint::BlueprintError>(())
//! ```
//!
//! # Three ideas
//! - **The records stand ready.** The table is told of every change inside the call that makes it, and a query is one look
//!   at the entry of its name. So an instance that is registered is answered, whoever asks next, and what a query costs
//!   does not depend on how many instances there are.
//! - **A packet costs what a query costs.** Messages are read and answered as the bytes they are, without
//!   allocating. The header and the question decide what is refused; at most 40 records beside the question
//!   are stepped over, and names in them are never decompressed. A query with more is a format error.
//! - **The rules are the core's.** Which records an instance gives is [`sd_core::records::records_of`], which of them are
//!   answered [`sd_core::records::select`]; the table is held against [`sd_core::records::resolve`] by a property test.
//!
//! # What is answered
//! | question | answer |
//! |---|---|
//! | a type that the name has | up to eight records in random order, or one if the service is WEIGHTED; healthy ones, or any if none is healthy |
//! | SRV | also the addresses of the hosts, as far as they fit |
//! | any type of a name with a CNAME record | the record, and what its target has if that is in a zone (RFC 1034 section 4.3.2) or a [`Forwarder`] finds it |
//! | addresses of a name that is an alias of a load balancer (`AWS_ALIAS_DNS_NAME`) | those of the load balancer under the name itself, with their own TTL: those in a zone, or else as [`AliasResolver`] or [`Forwarder`] say; SERVFAIL if they cannot be found |
//! | another type of a name that exists, or a name that only has names below it | NODATA: NOERROR with the zone's SOA record |
//! | a name without records: not known, a service without instances, a service of type HTTP | NXDOMAIN with the zone's SOA record |
//! | the zone's own name: SOA, NS | records that name the zone itself; there is no other name of which the zone knows that this server answers |
//! | ANY | the records of one type (RFC 8482) |
//! | a name in no zone | with a [`Forwarder`], for clients that desire recursion: what upstreams answer, from its cache while TTLs last; else REFUSED |
//! | another class, a zone transfer | REFUSED |
//!
//! The SOA record's TTL and its MINIMUM are the namespace's SOA TTL (RFC 2308 section 3). Answers are no longer than the
//! client can receive: [`Answerer::answer`]. Of zones of one name, one answers: [`NameTable::hidden_zones`].
//!
//! With a [`Forwarder`], the operator of an upstream sees queries with an EDNS option 65001, and now and then
//! one for a name below `sd-loop.`: they find out whether the upstream sends queries back to this server.
//!
//! # Resolvers
//! Those of glibc, musl, Go with and without cgo, Node.js, Java and Python find what is registered, as `tests/resolvers`
//! shows: neither Alpine nor `CGO_ENABLED=0` is in the way.
//! - **musl**, Alpine's libc, asks for A and AAAA at once. NXDOMAIN for one of them is taken for both, and any other error is
//!   waited out ([`lookup_name.c`, `res_msend.c`]). So a name exists for all types or for none. It has no EDNS, and TCP since
//!   1.2.4; eight addresses of a type fit into its 512 octets, whatever the name is.
//! - **Go** without cgo asks by itself, and wants AA or RA of an answer without records. With cgo it does the same
//!   ([name resolution]), but leaves names in `.local` to the libc, which might know multicast DNS.
//! - **glibc** takes what either type has; Python, `dns.lookup` of Node.js and `InetAddress` of Java ask it. Java keeps
//!   addresses for 30 s and failures for 10 s, whatever the TTL is ([`networkaddress.cache.ttl`], `….negative.ttl`).
//! - **Search lists** are gone through before a name with fewer dots than `ndots`, five in Kubernetes ([pods' DNS]). musl goes
//!   on after NXDOMAIN only, where glibc and Go pass over REFUSED too. So a server that stands alone in `resolv.conf` needs a
//!   [`Forwarder`] for suffixes that are no zones. A dot at the end of the name, or `ndots:1`, spares all of it.
//! - **`.local`** is also multicast DNS's (RFC 6762 section 3). Desktops that have it ask no DNS server for such names: glibc
//!   with [nss-mdns] (`mdns4_minimal [NOTFOUND=return]` in `nsswitch.conf`), and [systemd-resolved] unless the zone is in one
//!   of its domains. Images of containers have neither; a zone in `.internal` avoids the matter.
//!
//! [`lookup_name.c`, `res_msend.c`]: https://git.musl-libc.org/cgit/musl/tree/src/network
//! [`networkaddress.cache.ttl`]: https://docs.oracle.com/en/java/javase/17/docs/api/java.base/java/net/doc-files/net-properties.html
//! [nss-mdns]: https://github.com/avahi/nss-mdns
//! [systemd-resolved]: https://www.freedesktop.org/software/systemd/man/latest/systemd-resolved.service.html
//! [name resolution]: https://pkg.go.dev/net#hdr-Name_Resolution
//! [pods' DNS]: https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/

mod name_table;

mod random;
mod wire;

mod alias;
mod answerer;
mod counters;
mod forward;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;

mod server;
mod unusual;

pub use alias::{AliasAddresses, AliasResolver};
pub use answerer::{Answerer, Reply};
pub use counters::{Counters, Latency};
pub use forward::{Forwarder, ForwarderBuilder, SystemResolverError};
pub use name_table::{HiddenZone, NameTable};
pub use server::{BindError, DnsServer, DnsServerBuilder};
pub use wire::Transport;
