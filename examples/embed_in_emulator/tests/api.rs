//! What ECS answers.

mod support;

use serde_json::json;
use support::{Client, network};

#[tokio::test]
async fn errors_have_the_codes_and_texts_of_ecs() {
    let client = Client::fresh();
    client.define("web", json!({"command": ["sleep", "1000"]})).await;
    client.serve("web", 0, json!({})).await;
    for (operation, input, code, message) in [
        (
            "DescribeTasks",
            json!({"cluster": "no", "tasks": ["1"]}),
            "ClusterNotFoundException",
            "Cluster not found.",
        ),
        (
            "ListServices",
            json!({"cluster": "arn:aws:ecs:eu-west-1:999999999999:cluster/default"}),
            "ClusterNotFoundException",
            "Cluster not found.",
        ),
        ("UpdateService", json!({"service": "no"}), "ServiceNotFoundException", "Service not found."),
        ("DeleteService", json!({"service": "no"}), "ServiceNotFoundException", "Service not found."),
        (
            "StopTask",
            json!({"task": "no"}),
            "InvalidParameterException",
            "The referenced task was not found.",
        ),
        ("DescribeTasks", json!({"tasks": []}), "InvalidParameterException", "Tasks cannot be empty."),
        ("RunTask", json!({"taskDefinition": "no"}), "ClientException", "TaskDefinition not found."),
        ("RunTask", json!({"taskDefinition": "web:2"}), "ClientException", "TaskDefinition not found."),
        (
            "DescribeTaskDefinition",
            json!({"taskDefinition": "no"}),
            "ClientException",
            "Unable to describe task definition.",
        ),
        (
            "RunTask",
            json!({"taskDefinition": "web"}),
            "InvalidParameterException",
            "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
        ),
        (
            "CreateService",
            json!({"serviceName": "web", "taskDefinition": "web", "desiredCount": 1, "networkConfiguration": network()}),
            "InvalidParameterException",
            "Creation of service was not idempotent.",
        ),
        (
            "DeleteCluster",
            json!({"cluster": "default"}),
            "ClusterContainsServicesException",
            "The Cluster cannot be deleted while Services are active.",
        ),
        ("ListTasks", json!({"nextToken": "no"}), "InvalidParameterException", "Invalid token."),
        (
            "RunTask",
            json!({"taskDefinition": "web", "overrides": {"cpu": "256"}}),
            "UnsupportedFeatureException",
            "This emulator does not support overrides.",
        ),
        (
            "CreateService",
            json!({"serviceName": "x", "serviceConnectConfiguration": {"enabled": true}}),
            "UnsupportedFeatureException",
            "This emulator does not support serviceConnectConfiguration.",
        ),
        (
            "PutAttributes",
            json!({}),
            "UnknownOperationException",
            "This emulator has no operation \"PutAttributes\".",
        ),
    ] {
        let refusal = client.refused(operation, input.clone()).await;
        assert_eq!(refusal, (code.to_owned(), message.to_owned()), "{operation} {input}");
    }
    let (code, _) = client.refused("ListTasks", json!([])).await;
    assert_eq!(code, "SerializationException");
}

#[tokio::test]
async fn clusters_are_created_and_deleted() {
    let client = Client::fresh();
    let created = client.ecs("CreateCluster", json!({"clusterName": "one"})).await;
    assert_eq!(created["cluster"]["clusterArn"], "arn:aws:ecs:eu-west-1:111122223333:cluster/one");
    let listed = client.ecs("ListClusters", json!({"maxResults": 1})).await;
    assert_eq!(listed["clusterArns"], json!(["arn:aws:ecs:eu-west-1:111122223333:cluster/default"]));
    let listed = client.ecs("ListClusters", json!({"maxResults": 1, "nextToken": listed["nextToken"]})).await;
    assert_eq!(listed, json!({"clusterArns": [created["cluster"]["clusterArn"]]}));
    let deleted = client.ecs("DeleteCluster", json!({"cluster": "one"})).await;
    assert_eq!(deleted["cluster"]["status"], "INACTIVE");
    let described = client.ecs("DescribeClusters", json!({"clusters": ["default", "one", "no"]})).await;
    assert_eq!(described["clusters"][0]["status"], "ACTIVE");
    assert_eq!(described["clusters"][1]["status"], "INACTIVE");
    assert_eq!(
        described["failures"],
        json!([{"arn": "arn:aws:ecs:eu-west-1:111122223333:cluster/no", "reason": "MISSING"}])
    );
    client.refused("ListTasks", json!({"cluster": "one"})).await;
}

#[tokio::test]
async fn a_family_without_a_revision_is_its_newest_active_one() {
    let client = Client::fresh();
    client.define("web", json!({"command": ["one"]})).await;
    client.define("web", json!({"command": ["two"], "portMappings": [{"containerPort": 80}]})).await;
    let newest = client.ecs("DescribeTaskDefinition", json!({"taskDefinition": "web"})).await;
    assert_eq!(newest["taskDefinition"]["revision"], 2);
    let container = &newest["taskDefinition"]["containerDefinitions"][0];
    assert_eq!(container["portMappings"], json!([{"containerPort": 80, "hostPort": 80, "protocol": "tcp"}]));
    assert_eq!((&container["essential"], &container["cpu"]), (&json!(true), &json!(0)));
    let arn = &newest["taskDefinition"]["taskDefinitionArn"];
    let deregistered = client.ecs("DeregisterTaskDefinition", json!({"taskDefinition": arn})).await;
    assert_eq!(deregistered["taskDefinition"]["status"], "INACTIVE");
    let newest = client.ecs("DescribeTaskDefinition", json!({"taskDefinition": "web"})).await;
    assert_eq!(newest["taskDefinition"]["revision"], 1);
    let (_, message) = client.refused("RunTask", json!({"taskDefinition": arn})).await;
    assert_eq!(message, "TaskDefinition is inactive");
    let listed = client.ecs("ListTaskDefinitions", json!({"status": "INACTIVE"})).await;
    assert_eq!(listed["taskDefinitionArns"], json!([arn]));
}

#[tokio::test]
async fn health_checks_have_bounds() {
    let client = Client::fresh();
    for (member, allowed, refused, rule) in [
        ("interval", 300, 301, "interval must be less than or equal to the maximum allowed value 300"),
        ("interval", 5, 4, "interval must be greater than or equal to the minimum allowed value 5"),
        ("timeout", 60, 61, "timeout must be less than or equal to the maximum allowed value 60"),
        ("timeout", 2, 1, "timeout must be greater than or equal to the minimum allowed value 2"),
        ("retries", 10, 11, "retries must be less than or equal to the maximum allowed value 10"),
        ("retries", 1, 0, "retries must be greater than or equal to the minimum allowed value 1"),
        ("startPeriod", 300, 301, "start period must be less than or equal to the maximum allowed value 300"),
    ] {
        let definition = |value: u32| {
            let container = json!({"name": "app", "command": ["true"], "healthCheck": {"command": ["CMD", "true"], member: value}});
            json!({"family": "web", "containerDefinitions": [container]})
        };
        client.ecs("RegisterTaskDefinition", definition(allowed)).await;
        let refusal = client.refused("RegisterTaskDefinition", definition(refused)).await;
        let message = format!("Create TaskDefinition: Health check {rule} for container 'app'");
        assert_eq!(refusal, ("ClientException".to_owned(), message));
    }
}

#[tokio::test]
async fn task_definitions_that_cannot_run_are_refused() {
    let client = Client::fresh();
    for (container, message) in [
        (json!({"command": ["true"]}), "Container.name should not be null or empty."),
        (
            json!({"name": "app"}),
            "This emulator does not support images: container 'app' needs an entryPoint or a command.",
        ),
        (
            json!({"name": "app", "command": ["true"], "dependsOn": [{"containerName": "db", "condition": "START"}]}),
            "This emulator does not support dependsOn, as in container 'app'.",
        ),
        (
            json!({"name": "app", "command": ["true"], "portMappings": [{"containerPortRange": "80-90"}]}),
            "This emulator does not support containerPortRange.",
        ),
        (
            json!({"name": "app", "command": ["true"], "portMappings": [{}]}),
            "Container 'app' has a port mapping without a containerPort of 1 to 65535.",
        ),
        (
            json!({"name": "app", "command": ["true"], "essential": false}),
            "At least one container must be essential.",
        ),
        (
            json!({"name": "app", "command": ["true"], "healthCheck": {"command": ["CMD"]}}),
            "Create TaskDefinition: Health check command must be NONE, or CMD or CMD-SHELL and a command for container 'app'",
        ),
    ] {
        let input = json!({"family": "web", "containerDefinitions": [container]});
        let (_, refusal) = client.refused("RegisterTaskDefinition", input).await;
        assert_eq!(refusal, message);
    }
    let containers: Vec<_> =
        (0..11).map(|number| json!({"name": format!("app-{number}"), "command": ["true"]})).collect();
    let input = json!({"family": "web", "containerDefinitions": containers});
    let (_, refusal) = client.refused("RegisterTaskDefinition", input).await;
    assert_eq!(refusal, "A task definition has at most 10 containers.");
    let container = json!({"name": "app", "command": ["x".repeat(64 * 1024)]});
    let input = json!({"family": "web", "containerDefinitions": [container]});
    let (_, refusal) = client.refused("RegisterTaskDefinition", input).await;
    assert_eq!(refusal, "A task definition has at most 65536 bytes.");
}

#[tokio::test]
async fn a_page_goes_on_after_an_item_that_is_gone() {
    let client = Client::fresh();
    for name in ["a", "b", "c"] {
        client.ecs("CreateCluster", json!({"clusterName": name})).await;
    }
    let first = client.ecs("ListClusters", json!({"maxResults": 2})).await;
    client.ecs("DeleteCluster", json!({"cluster": "b"})).await;
    let second = client.ecs("ListClusters", json!({"maxResults": 2, "nextToken": first["nextToken"]})).await;
    let names = ["c", "default"].map(|name| format!("arn:aws:ecs:eu-west-1:111122223333:cluster/{name}"));
    assert_eq!(second, json!({"clusterArns": names}));
}

#[tokio::test]
async fn revisions_are_listed_by_number_in_both_directions() {
    let client = Client::fresh();
    for _ in 0..11 {
        client.define("web", json!({"command": ["true"]})).await;
    }
    for (sort, expected) in [("ASC", [9, 10, 11]), ("DESC", [3, 2, 1])] {
        let mut input = json!({"sort": sort, "maxResults": 8});
        input["nextToken"] = client.ecs("ListTaskDefinitions", input.clone()).await["nextToken"].clone();
        let listed = client.ecs("ListTaskDefinitions", input).await;
        let arn = |number| format!("arn:aws:ecs:eu-west-1:111122223333:task-definition/web:{number}");
        assert_eq!(listed, json!({"taskDefinitionArns": expected.map(arn)}));
    }
}

#[tokio::test]
async fn a_host_port_is_shown_as_it_was_given() {
    let client = Client::fresh();
    for (mode, given, shown) in [
        ("bridge", json!({"containerPort": 80}), 0),
        ("bridge", json!({"containerPort": 80, "hostPort": 8080}), 8080),
        ("awsvpc", json!({"containerPort": 80}), 80),
    ] {
        let container = json!({"name": "app", "command": ["true"], "portMappings": [given]});
        let input = json!({"family": "web", "networkMode": mode, "containerDefinitions": [container]});
        let registered = client.ecs("RegisterTaskDefinition", input).await;
        let port = &registered["taskDefinition"]["containerDefinitions"][0]["portMappings"][0];
        assert_eq!(port["hostPort"], shown, "{mode} {given}");
    }
}

#[tokio::test]
async fn members_that_ask_for_nothing_are_accepted() {
    let client = Client::fresh();
    client.define("web", json!({"command": ["true"]})).await;
    let off = json!({"propagateTags": "NONE", "enableExecuteCommand": false, "placementStrategy": []});
    client.serve("web", 0, off).await;
    for member in ["propagateTags", "enableExecuteCommand"] {
        let value = if member == "propagateTags" { json!("SERVICE") } else { json!(true) };
        let (code, message) =
            client.refused("CreateService", json!({"serviceName": "x", member: value})).await;
        let expected = format!("This emulator does not support {member}.");
        assert_eq!((code.as_str(), message), ("UnsupportedFeatureException", expected));
    }
}
