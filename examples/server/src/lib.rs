//! What `sd-server` reports of DNS, for hosts that mount the same report.
//!
//! `sd-dns` knows no JSON and `sd-http` knows no DNS, so their report is here:
//!
//! ```
//! use std::sync::Arc;
//!
//! use sd_backend_memory::MemoryRegistry;
//! use sd_core::CloudMap;
//! use sd_dns::{DnsServer, NameTable};
//! use sd_http::{AdminRoutes, HttpServer, Readiness};
//! use sd_server::DnsReport;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let cloud_map = CloudMap::new(MemoryRegistry::new());
//! let table = NameTable::new();
//! let _attached = cloud_map.cell().attach(Arc::new(table.clone()));
//! let dns = Arc::new(DnsServer::bind(table.clone(), ["127.0.0.1:0".parse()?]).await?);
//!
//! let routes = AdminRoutes::new(cloud_map, Readiness::new())
//!     .with_report("dns", move || Some(DnsReport::new(&table, &dns.counters())));
//! // Answers `GET /_sd/dns`.
//! let admin = HttpServer::bind("127.0.0.1:0", routes.into_router()).await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `server` (default) | the program `sd-server`; a host that only mounts the report needs no features |

#![forbid(unsafe_code)]

mod dns_report;

pub use dns_report::DnsReport;
