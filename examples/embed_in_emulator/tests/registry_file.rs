//! The file that keeps Cloud Map's registry.

mod support;

use std::fs;

use embed_in_emulator::registry_file;
use sd_core::{CloudMap, Registry, stored::Facts};
use serde_json::json;
use support::{Client, is_stable, marker, until};

#[tokio::test]
async fn a_registry_is_the_same_after_a_restart() {
    let file = std::env::temp_dir().join(format!("registry-{}.json", marker()));
    let cloud_map = CloudMap::new(registry_file::read(&file).unwrap());
    let kept = registry_file::keep(file.clone(), cloud_map.cell()).unwrap();
    let client = Client::new(&cloud_map, "web");
    let arn = client.create_web().await;
    client.define("web", json!({"command": ["sleep", "1000"]})).await;
    client.serve("web", 2, json!({"serviceRegistries": [{"registryArn": arn}]})).await;
    client.service_until("web", is_stable).await;
    let revision = cloud_map.state().revision();
    let is_written = async || registry_file::read(&file).unwrap().cell().load().revision() == revision;
    until("the file is behind", is_written).await;
    drop(kept);
    let restarted = CloudMap::new(registry_file::read(&file).unwrap());
    let (before, after) = (Facts::of(&cloud_map.state()), Facts::of(&restarted.state()));
    assert_eq!((before.instances.len(), &before), (2, &after));
    assert_eq!(restarted.cell().operations().stored(), cloud_map.cell().operations().stored());
    // Without tasks, the emulator deregisters their instances.
    Client::new(&restarted, "web").until_addresses(&[]).await;
    fs::remove_file(&file).unwrap();
}

#[test]
fn a_file_of_something_else_is_refused() {
    let file = std::env::temp_dir().join(format!("registry-{}.json", marker()));
    fs::write(&file, "{}").unwrap();
    let error = registry_file::read(&file).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{} is not a registry: ", file.display())), "{error}");
    fs::remove_file(&file).unwrap();
}
