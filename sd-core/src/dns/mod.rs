//! DNS records, the answers made of them, and explanations of answers.

pub mod explanation;
pub mod records;
