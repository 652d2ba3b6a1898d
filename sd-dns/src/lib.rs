//! The DNS door of `sd`: answers DNS queries for the services of a registry.
//!
//! A [`NameTable`] follows a registry and holds its records. An [`Answerer`] answers messages from the table, octets in,
//! octets out. A [`DnsServer`] adds sockets. Each is useful without the next.
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
//! let mut response = Vec::new();
//! assert_eq!(Answerer::new(table).answer(query, Transport::Udp, &mut response), Reply::Written);
//! // One answer record. The message ends with its data.
//! assert_eq!(response[6..8], [0, 1]);
//! assert!(response.ends_with(&[10, 0, 0, 1]));
//! # Ok::<(), sd_core::blueprint::BlueprintError>(())
//! ```
//!
//! # How it works
//! - **Records are ready before a query comes.** The table hears of every change inside the call that makes it, so a
//!   registered instance is in the next response. A query looks up one entry, whatever the number of instances.
//! - **No packet costs much more than a common query.** Messages are read in place and answered without allocating. The
//!   header and the question decide what is refused. At most 40 records besides the question are skipped, and their names
//!   are never decompressed; a query with more is a format error.
//! - **The rules are those of `sd-core`.** [`sd_core::dns::records_of`] decides which records an instance has,
//!   [`sd_core::door::select`] which of them are in a response. A property test compares the table with
//!   [`sd_core::dns::resolve`].
//!
//! # Responses
//! | question | response |
//! |---|---|
//! | a type that the name has | up to eight records in random order, one if the service is WEIGHTED; of healthy instances, or of all if none is healthy |
//! | SRV | the same, and the addresses of the targets as far as they fit |
//! | any type of a name with a CNAME record | the CNAME record, and the records of its target if that is in a zone (RFC 1034 section 4.3.2) or a [`Forwarder`] finds them |
//! | addresses of an alias of a load balancer (`AWS_ALIAS_DNS_NAME`) | the addresses of the load balancer under the name itself, with their own TTL: from a zone, from the [`AliasResolver`] or from the [`Forwarder`]; SERVFAIL if none finds them |
//! | another type of a name that has records, or has names below it | NODATA: NOERROR with the zone's SOA record |
//! | a name without records: an unknown name, a service without instances, a service of type HTTP | NXDOMAIN with the zone's SOA record |
//! | SOA or NS of a zone's own name | a record that names the zone itself, because the zone knows no other name of this server |
//! | ANY | the records of one type (RFC 8482) |
//! | a name in no zone | REFUSED; with a [`Forwarder`], if the client desires recursion, the response of an upstream or of the cache |
//! | another class, a zone transfer | REFUSED |
//!
//! TTL and MINIMUM of the SOA record are the namespace's SOA TTL (RFC 2308 section 3). [`Answerer::answer`] describes the
//! sizes of responses. If several zones have the same name, one of them answers: [`NameTable::hidden_zones`].
//!
//! With a [`Forwarder`], operators of upstreams see queries with an EDNS option 65001, and a few queries for names below
//! `sd-loop.`. They detect forwarding loops.
//!
//! # Resolvers
//! The resolvers of glibc, musl, Go with and without cgo, Node.js, Java and Python find what is registered;
//! `tests/resolvers` checks them. Neither Alpine nor `CGO_ENABLED=0` needs extra settings.
//! - **musl**, the libc of Alpine, sends A and AAAA queries at once. It takes NXDOMAIN for one as NXDOMAIN for both, and
//!   retries after any other error ([`lookup_name.c`, `res_msend.c`]). Therefore a name exists for all types or for none.
//!   musl has no EDNS, and uses TCP since 1.2.4. Eight addresses of a type fit into its 512 octets, whatever the name is.
//! - **Go** without cgo sends its own queries, and accepts a response without records only with AA or RA. With cgo it does
//!   the same ([name resolution]), but leaves names in `.local` to the libc, which may know multicast DNS.
//! - **glibc** takes the addresses of either type. Python, `dns.lookup` of Node.js and `InetAddress` of Java use it. Java
//!   caches addresses for 30 s and failures for 10 s, whatever the TTL is ([`networkaddress.cache.ttl`],
//!   `….negative.ttl`).
//! - **Search lists** are tried first for names with fewer dots than `ndots`, which is 5 in Kubernetes ([pods' DNS]). musl
//!   continues after NXDOMAIN only; glibc and Go also continue after REFUSED. So a server that is alone in `resolv.conf`
//!   needs a [`Forwarder`] for suffixes that are no zones. A dot at the end of the name or `ndots:1` avoids search lists.
//! - **`.local`** belongs to multicast DNS as well (RFC 6762 section 3). Desktops with multicast DNS send no DNS queries for
//!   such names: glibc with [nss-mdns] (`mdns4_minimal [NOTFOUND=return]` in `nsswitch.conf`), and [systemd-resolved]
//!   unless the zone is one of its domains. Container images have neither. A zone in `.internal` avoids the problem.
//!
//! [`lookup_name.c`, `res_msend.c`]: https://git.musl-libc.org/cgit/musl/tree/src/network
//! [`networkaddress.cache.ttl`]: https://docs.oracle.com/en/java/javase/17/docs/api/java.base/java/net/doc-files/net-properties.html
//! [nss-mdns]: https://github.com/avahi/nss-mdns
//! [systemd-resolved]: https://www.freedesktop.org/software/systemd/man/latest/systemd-resolved.service.html
//! [name resolution]: https://pkg.go.dev/net#hdr-Name_Resolution
//! [pods' DNS]: https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/

mod name_table;
mod wire;

mod response;

mod alias;
mod answerer;
mod counters;
mod forward;
mod server;

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;

pub use alias::{AliasAddresses, AliasResolver};
pub use answerer::{Answerer, Reply};
pub use counters::Counters;
pub use forward::{Forwarder, ForwarderBuilder, SystemResolverError};
pub use name_table::{HiddenZone, NameTable};
pub use sd_core::door::Latency;
pub use server::{BindError, DnsServer, DnsServerBuilder};
pub use wire::Transport;
