//! Connections, which the runner observes too.

use aws_sdk_servicediscovery::{Client, Error};

use crate::world::{World, by_proxy, over_a_socket, refused, variable};

/// Calls both hosts of the API.
async fn asks(client: &Client) {
    client.list_namespaces().send().await.unwrap();
    let call = client.discover_instances().namespace_name("nowhere").service_name("web");
    let error = refused(call.send().await);
    assert!(matches!(error, Error::NamespaceNotFound(_)), "{error:?}");
}

pub(crate) async fn keep_alive(_: World) {
    let client = Client::from_conf(over_a_socket(&variable("SD_KEEP_ALIVE")).build());
    for _ in 0..10 {
        client.list_namespaces().send().await.unwrap();
        // A separate task returns the connection to the client's pool. It runs here, before the next call could open
        // another connection. This relies on the single-threaded runtime of `main`.
        tokio::task::yield_now().await;
    }
}

pub(crate) async fn ipv6(_: World) {
    asks(&Client::from_conf(over_a_socket(&variable("SD_ENDPOINT_IPV6")).build())).await;
}

pub(crate) async fn proxy(_: World) {
    asks(&Client::from_conf(by_proxy(&variable("SD_PROXY")).build())).await;
}

pub(crate) async fn expect_continue(_: World) {
    let client = Client::from_conf(over_a_socket(&variable("SD_EXPECT")).build());
    let call = client.list_namespaces().customize();
    let call = call.mutate_request(|request| {
        request.headers_mut().insert("expect", "100-continue");
    });
    call.send().await.unwrap();
}
