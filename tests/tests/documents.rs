//! What ARCHITECTURE.md names exists.

#![allow(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

use std::path::Path;

#[test]
fn every_path_in_the_architecture_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = std::fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let quoted = text.split('`').skip(1).step_by(2);
    let paths: Vec<&str> = quoted
        .filter(|code| code.contains('/') || code.starts_with("sd-"))
        .filter(|code| code.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c)))
        .filter(|code| !code.starts_with('/'))
        .collect();
    assert!(paths.len() > 20, "the document names its places in backquotes: {paths:?}");
    // The binary of examples/server is no path.
    let missing: Vec<_> =
        paths.iter().filter(|path| **path != "sd-server" && !root.join(path).exists()).collect();
    assert!(missing.is_empty(), "not there: {missing:?}");
}

#[test]
fn the_architecture_fits_on_two_pages() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = std::fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let words = text.split_whitespace().count();
    assert!(words <= 1300, "{words} words");
}
