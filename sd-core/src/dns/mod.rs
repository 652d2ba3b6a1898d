//! DNS records of instances, answers to DNS questions, and explanations of answers.
//!
//! ```
//! use sd_backend_memory::MemoryRegistry;
//! use sd_core::{
//!     Blueprint, Scope, SyncCloudMap,
//!     dns::{Answer, LeftOut, RecordData, View},
//!     model::{DnsName, RecordType},
//! };
//!
//! let cloud_map = SyncCloudMap::new(MemoryRegistry::new());
//! Blueprint::new()
//!     .private_dns_namespace("app.local", "vpc-1")
//!     .dns_service("web", [(RecordType::A, 60)])
//!     .instance("web-1", [("AWS_INSTANCE_IPV4", "10.0.0.1")])
//!     .apply_sync(&cloud_map.at(Scope::default()))?;
//!
//! let (view, name) = (View::default(), DnsName::parse("web.app.local")?);
//! let Answer::Records(records) = cloud_map.resolve(&view, &name, RecordType::A) else { panic!() };
//! assert_eq!(records[0].data, RecordData::A([10, 0, 0, 1].into()));
//!
//! // Why is there no AAAA record?
//! let explanation = cloud_map.explain(&view, &name, RecordType::Aaaa);
//! assert_eq!(explanation.candidates[0].left_out, Some(LeftOut::NotConfigured(RecordType::Aaaa)));
//! assert!(explanation.to_string().contains("left out, because its service has no AAAA records"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub(crate) mod explanation;
pub(crate) mod records;

pub use explanation::{Candidate, Explanation, LeftOut, Outcome};
pub use records::{
    Answer, CNAME_LIMIT, MULTIVALUE_LIMIT, Record, RecordData, SRV_PRIORITY_AND_WEIGHT, View, records_of,
    resolve, service_name,
};
