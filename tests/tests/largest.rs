//! The largest requests cost no more memory than their size allows. `tests/costs` checks their instructions.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use allocation_counter::measure;
use sd_http::typed;
use sd_tests::largest::{BODY, all, filled};

/// A quarter of the largest body, because costs are linear and this is a debug build.
const OCTETS: usize = BODY / 4;

#[test]
fn no_list_or_map_makes_a_request_cost_more_than_its_size() {
    let (cloud_map, service) = filled(1000).unwrap();
    let cases = all(&service).unwrap();
    assert!(cases.len() >= 60, "only {} lists and maps", cases.len());
    let mut refused = 0;
    for case in &cases {
        let body = case.body(OCTETS);
        assert!(body.len() <= OCTETS && body.len() > OCTETS - 100, "{}: {} octets", case.name, body.len());
        let mut answer = None;
        let counted = measure(|| answer = Some(typed::call_sync(&cloud_map, case.action, body.as_bytes())));
        let answer = answer.unwrap();
        refused += usize::from(answer.is_err());
        let length = answer.as_ref().map_or_else(Vec::len, Vec::len);
        assert!(length < 64 << 10, "{}: the answer has {length} bytes", case.name);
        // An empty structure is three bytes of the body (two braces and a comma), and three texts and lists in memory,
        // which grow by doubling.
        assert!(counted.bytes_max < 64 * OCTETS as u64, "{}: {counted:?}", case.name);
        // A few allocations per entry. The smallest entry has three bytes.
        assert!(counted.count_total < OCTETS as u64, "{}: {counted:?}", case.name);
        if let Err(refusal) = answer {
            let refusal = String::from_utf8(refusal).unwrap();
            // No instance has such an id, and no resource such an ARN.
            let known = ["InvalidInput", "InstanceNotFound", "ResourceNotFoundException"];
            assert!(known.iter().any(|code| refusal.contains(code)), "{}: {refusal}", case.name);
        }
    }
    assert!(refused < cases.len() && refused > cases.len() / 2, "{refused} of {} were refused", cases.len());
}
