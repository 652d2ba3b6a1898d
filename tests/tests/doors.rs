//! A write through one door is visible through all doors as soon as it is answered.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{net::Ipv4Addr, sync::Arc};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};
use sd_backend_memory::MemoryRegistry;
use sd_core::{
    Attached, CloudMap, Scope,
    request::{DeregisterInstanceRequest, DiscoverInstancesRequest, RegisterInstanceRequest},
};
use sd_dns::{DnsServer, NameTable};
use sd_http::{CloudMapService, HttpServer};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};

/// All doors of one registry, on ports picked by the system.
struct Doors {
    cloud_map: CloudMap,
    http: HttpServer,
    dns: DnsServer,
    resolver: UdpSocket,
    _attached: Attached,
}

impl Doors {
    async fn open() -> Self {
        let cloud_map = CloudMap::new(MemoryRegistry::new());
        let table = NameTable::new();
        let attached = cloud_map.cell().attach(Arc::new(table.clone()));
        let http = HttpServer::bind("127.0.0.1:0", CloudMapService::new(cloud_map.clone())).await.unwrap();
        let dns = DnsServer::bind(table, ["127.0.0.1:0".parse().unwrap()]).await.unwrap();
        let resolver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        resolver.connect(dns.local_addrs()[0]).await.unwrap();
        Self { cloud_map, http, dns, resolver, _attached: attached }
    }

    async fn call(&self, operation: &str, body: Value) -> Value {
        let body = body.to_string();
        let mut stream = TcpStream::connect(self.http.local_addrs()[0]).await.unwrap();
        let request = format!(
            "POST / HTTP/1.1\r\nHost: data-localhost\r\nConnection: close\r\nContent-Length: {}\r\n\
             X-Amz-Target: Route53AutoNaming_v20170314.{operation}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{operation}: {answer}");
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    /// The response code and the sorted IPv4 addresses of a DNS answer.
    async fn dig(&self, name: &str) -> (ResponseCode, Vec<Ipv4Addr>) {
        let mut question = Message::new(7, MessageType::Query, OpCode::Query);
        question.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
        self.resolver.send(&question.to_vec().unwrap()).await.unwrap();
        let mut packet = [0; 512];
        let length = self.resolver.recv(&mut packet).await.unwrap();
        let answer = Message::from_vec(&packet[..length]).unwrap();
        let mut addresses: Vec<_> = answer
            .answers
            .iter()
            .filter_map(|record| match &record.data {
                RData::A(address) => Some(address.0),
                _ => None,
            })
            .collect();
        addresses.sort_unstable();
        (answer.metadata.response_code, addresses)
    }

    async fn discovered(&self) -> (Vec<String>, Vec<String>) {
        let names = json!({"NamespaceName": "app.local", "ServiceName": "web"});
        let over_http = self.call("DiscoverInstances", names).await;
        let mut over_http: Vec<_> = over_http["Instances"]
            .as_array()
            .unwrap()
            .iter()
            .map(|instance| instance["InstanceId"].as_str().unwrap().to_owned())
            .collect();
        over_http.sort_unstable();
        let typed = self.cloud_map.at(Scope::default());
        let found = typed.discover_instances(DiscoverInstancesRequest::new("app.local", "web")).unwrap();
        let mut in_rust: Vec<_> = found.instances.iter().map(|instance| instance.id.to_string()).collect();
        in_rust.sort_unstable();
        (over_http, in_rust)
    }
}

#[tokio::test]
async fn every_door_shows_a_write_as_soon_as_it_is_answered() {
    let doors = Doors::open().await;
    doors.call("CreatePrivateDnsNamespace", json!({"Name": "app.local", "Vpc": "vpc-1"})).await;
    let namespace = doors.call("ListNamespaces", json!({})).await["Namespaces"][0]["Id"].clone();
    let service = doors
        .call(
            "CreateService",
            json!({"Name": "web", "NamespaceId": namespace, "DnsConfig": {"DnsRecords": [{"Type": "A", "TTL": 60}]}}),
        )
        .await["Service"]["Id"]
        .as_str()
        .unwrap()
        .to_owned();
    let typed = doors.cloud_map.at(Scope::default());
    assert_eq!(doors.dig("web.app.local.").await, (ResponseCode::NXDomain, vec![]));
    for round in 1..=8u8 {
        let (id, address) = (format!("i-{round}"), Ipv4Addr::new(10, 0, 0, round));
        // Alternates between HTTP and Rust.
        if round % 2 == 0 {
            let attributes = json!({"AWS_INSTANCE_IPV4": address});
            let request = json!({"ServiceId": service, "InstanceId": id, "Attributes": attributes});
            doors.call("RegisterInstance", request).await;
        } else {
            let request = RegisterInstanceRequest::new(&service, &id);
            typed
                .register_instance(request.with_attribute("AWS_INSTANCE_IPV4", address.to_string()))
                .await
                .unwrap();
        }
        let addresses = (1..=round).map(|last| Ipv4Addr::new(10, 0, 0, last)).collect();
        assert_eq!(doors.dig("WEB.app.local.").await, (ResponseCode::NoError, addresses));
        let (over_http, in_rust) = doors.discovered().await;
        assert_eq!(over_http.len(), usize::from(round));
        assert_eq!(over_http, in_rust);
    }
    for round in 1..=8u8 {
        let id = format!("i-{round}");
        if round % 2 == 0 {
            typed.deregister_instance(DeregisterInstanceRequest::new(&service, &id)).await.unwrap();
        } else {
            doors.call("DeregisterInstance", json!({"ServiceId": service, "InstanceId": id})).await;
        }
        let addresses: Vec<_> = (round + 1..=8).map(|last| Ipv4Addr::new(10, 0, 0, last)).collect();
        let code = if addresses.is_empty() { ResponseCode::NXDomain } else { ResponseCode::NoError };
        assert_eq!(doors.dig("web.app.local.").await, (code, addresses));
        assert!(!doors.discovered().await.0.contains(&id));
    }
    doors.call("DeleteService", json!({"Id": service})).await;
    doors.call("DeleteNamespace", json!({"Id": namespace})).await;
    assert_eq!(doors.dig("web.app.local.").await, (ResponseCode::Refused, vec![]));
    doors.http.shutdown().await;
    doors.dns.shutdown().await;
}
