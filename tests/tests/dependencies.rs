//! Checks the dependencies of each crate, as cargo resolves them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{collections::BTreeSet, path::Path, process::Command};

/// The names of the crates that a workspace crate depends on with these features, directly or not.
fn built_for(package: &str, features: &str) -> BTreeSet<String> {
    let output = Command::new(std::env::var("CARGO").unwrap_or_else(|_| env!("CARGO").to_owned()))
        .args(["tree", "--locked", "--offline", "--edges", "normal,build", "--prefix", "none", "--package"])
        .args([package, "--features", features, "--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let names = lines.lines().filter_map(|line| line.split(' ').next());
    let names: BTreeSet<_> = names.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    assert!(names.contains(package), "{lines}");
    names.into_iter().filter(|name| name != package).collect()
}

#[test]
fn the_engine_has_few_dependencies() {
    let crates = built_for("sd-core", "");
    assert!(crates.len() < 25, "{} crates: {crates:?}", crates.len());
    for heavy in ["tokio", "serde", "http", "hyper", "hickory-proto", "sd-net"] {
        assert!(!crates.contains(heavy), "{heavy}: {crates:?}");
    }
}

#[test]
fn sd_net_depends_on_no_engine_and_no_protocol() {
    let crates = built_for("sd-net", "");
    for other in ["sd-core", "http", "hyper", "hickory-proto"] {
        assert!(!crates.contains(other), "{other}: {crates:?}");
    }
}

#[test]
fn doors_depend_on_no_other_door_and_no_backend() {
    for door in ["sd-http", "sd-dns"] {
        let crates = built_for(door, "");
        let ours: Vec<_> = crates.iter().filter(|name| name.starts_with("sd-")).collect();
        assert_eq!(ours, ["sd-core", "sd-net"], "{door}");
    }
}

#[test]
fn sd_http_depends_on_no_tls_no_web_framework_and_no_aws_crate() {
    let heavy = ["axum", "aws-lc-rs", "aws-lc-sys", "native-tls", "openssl", "openssl-sys", "ring", "rustls"];
    let crates = built_for("sd-http", "");
    let found: Vec<_> =
        crates.iter().filter(|name| heavy.contains(&name.as_str()) || name.starts_with("aws-")).collect();
    assert!(found.is_empty(), "{found:?}");
}

/// A program that uses the SDK already has the rest of it.
#[test]
fn the_feature_aws_sdk_adds_only_the_traits_of_the_runtime() {
    let crates = built_for("sd-http", "aws-sdk");
    let of_aws: Vec<_> = crates.iter().filter(|name| name.starts_with("aws-")).collect();
    assert_eq!(of_aws, ["aws-smithy-async", "aws-smithy-runtime-api", "aws-smithy-types"]);
    assert!(!crates.contains("ring") && !crates.contains("rustls"), "{crates:?}");
}

/// Major, minor and patch of a Rust version in a manifest: `1.88` is 1.88.0.
fn version(text: &str) -> Vec<u32> {
    let mut parts: Vec<_> = text.split('.').map(|part| part.parse().unwrap()).collect();
    parts.resize(3, 0);
    parts
}

/// No test compiles with the oldest promised Rust, so this one reads what each locked crate declares.
#[test]
fn no_locked_crate_needs_a_newer_rust_than_the_workspace() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| env!("CARGO").to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--locked", "--offline", "--all-features", "--format-version", "1"])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let oldest = env!("CARGO_PKG_RUST_VERSION");
    let packages = metadata["packages"].as_array().unwrap();
    let asked: Vec<_> = packages
        .iter()
        .filter_map(|package| {
            Some((&package["name"], &package["version"], package["rust_version"].as_str()?))
        })
        .collect();
    assert!(
        asked.len() > packages.len() / 2,
        "only {} of {} crates declare a Rust version",
        asked.len(),
        packages.len()
    );
    let newer: Vec<_> = asked.iter().filter(|(.., needed)| version(needed) > version(oldest)).collect();
    assert!(newer.is_empty(), "newer than {oldest}: {newer:?}");
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    assert!(readme.contains(&format!("({oldest} or newer)")), "README.md does not name Rust {oldest}");
}
