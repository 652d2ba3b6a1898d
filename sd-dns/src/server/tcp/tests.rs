//! How much a connection does before it yields, and how many of its responses are pending.

use std::{
    net::Ipv4Addr,
    pin::pin,
    task::{Context, Poll, Waker},
};

use sd_backend_memory::MemoryRegistry;
use sd_core::{
    Scope, SyncCloudMap,
    model::{RecordType, RoutingPolicy},
    request::{
        CreatePrivateDnsNamespaceRequest, CreateServiceRequest, DnsConfigInput, RegisterInstanceRequest,
    },
};

use tokio::net::TcpListener;

use super::*;
use crate::{AliasResolver, answerer::Resolvers, name_table::NameTable};

/// A connection that has received messages, and its client.
async fn connection(answerer: Answerer, messages: &[&[u8]]) -> (Connection, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let framed = messages.iter().map(|message| [&(message.len() as u16).to_be_bytes()[..], message].concat());
    let connection = Connection {
        stream,
        client: Ipv4Addr::LOCALHOST.into(),
        answerer,
        pending: Arc::default(),
        place: sd_net::Connections::new(1, usize::MAX).connect().0,
        busy: None,
        idle_timeout: Duration::from_secs(30),
        counters: Arc::new(WorkerCounters::new()),
        received: framed.flatten().collect(),
        responses: Vec::new(),
        pending_responses: JoinSet::new(),
    };
    (connection, client)
}

/// A query for the root, which is in no zone and therefore REFUSED.
const REFUSED: &[u8] = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01";

#[tokio::test]
async fn a_connection_yields_between_many_messages() {
    let messages = 3 * Connection::YIELD_AFTER;
    let (mut connection, _client) =
        connection(Answerer::new(NameTable::new()), &vec![REFUSED; messages]).await;
    let counters = Arc::clone(&connection.counters);
    let mut answer = pin!(connection.answer());
    for turn in 1..=3 {
        assert!(answer.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(counters.snapshot().tcp, (turn * Connection::YIELD_AFTER) as u64);
    }
    assert!(matches!(answer.await, Ok(Progress::Some)));
}

/// A table with an alias record, and a query for its address.
fn alias() -> (NameTable, Vec<u8>) {
    let cloud_map = SyncCloudMap::new(MemoryRegistry::new());
    let table = NameTable::new();
    let _attached = cloud_map.cloud_map().cell().attach(Arc::new(table.clone()));
    let api = cloud_map.at(Scope::default());
    api.create_private_dns_namespace(CreatePrivateDnsNamespaceRequest::new("app.local", "vpc-1")).unwrap();
    let state = cloud_map.cloud_map().state();
    let namespace = state.scope(api.scope()).namespaces().next().unwrap().namespace().id.clone();
    let config = DnsConfigInput::new([(RecordType::A, 60)]).with_routing_policy(RoutingPolicy::Weighted);
    let service =
        CreateServiceRequest::new("lb").with_namespace_id(namespace.as_str()).with_dns_config(config);
    let service = api.create_service(service).unwrap().service;
    let instance =
        RegisterInstanceRequest::new(&service.id, "i").with_attribute("AWS_ALIAS_DNS_NAME", "lb.example.com");
    api.register_instance(instance).unwrap();
    let query = b"\x12\x34\0\0\0\x01\0\0\0\0\0\0\x02lb\x03app\x05local\0\0\x01\0\x01";
    (table, query.to_vec())
}

/// Never resolves anything.
#[derive(Debug)]
struct Silent;

#[async_trait::async_trait]
impl AliasResolver for Silent {
    async fn resolve(
        &self,
        _: &sd_core::model::DnsName,
        _: RecordType,
    ) -> Result<crate::AliasAddresses, Box<dyn std::error::Error + Send + Sync>> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn the_number_of_pending_responses_is_bounded() {
    let (table, query) = alias();
    let resolvers = Resolvers { aliases: Some(Arc::new(Silent)), forwarder: None };
    let (mut connection, _client) = connection(
        Answerer::new(table).with_resolvers(resolvers),
        &vec![&query[..]; 3 * Connection::MAX_PENDING],
    )
    .await;
    assert!(matches!(connection.answer().await, Ok(Progress::Some)));
    assert_eq!(connection.pending_responses.len(), Connection::MAX_PENDING);
    assert_eq!(connection.received.len(), 2 * Connection::MAX_PENDING * (LENGTH + query.len()));
    assert!(!connection.has_room(), "nothing more is received");
    // No other message is answered before.
    assert!(matches!(connection.answer().await, Ok(Progress::None)));
    assert_eq!(connection.pending_responses.len(), Connection::MAX_PENDING);
    assert_eq!(connection.counters.snapshot().tcp, 0);

    // Places that become free are taken by the next messages.
    connection.pending_responses.abort_all();
    while connection.pending_responses.join_next().await.is_some() {}
    assert!(matches!(connection.answer().await, Ok(Progress::Some)));
    assert_eq!(connection.pending_responses.len(), Connection::MAX_PENDING);
    let mut drained = pin!(connection.pending_responses.join_next());
    assert!(matches!(drained.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending));
}
