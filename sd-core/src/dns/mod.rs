//! DNS records, the answers made of them, and explanations of answers.

pub(crate) mod explanation;
pub(crate) mod records;

pub use explanation::{Candidate, Explanation, LeftOut, Outcome};
pub use records::{
    Answer, CNAME_LIMIT, MULTIVALUE_LIMIT, Record, RecordData, SRV_PRIORITY_AND_WEIGHT, View, records_of,
    resolve, service_name,
};
