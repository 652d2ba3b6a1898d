// The checks with the AWS SDK for JavaScript v3. SD_PROTOCOL=cbor selects rpc-v2-cbor; the default is awsJson1.1.

import { deepEqual as equal, ok } from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

import * as sdk from "@aws-sdk/client-servicediscovery";
import { ServiceDiscovery } from "@aws-sdk/client-servicediscovery";
import { AwsSmithyRpcV2CborProtocol } from "@aws-sdk/core/protocols";
import { HttpProxyAgent } from "http-proxy-agent";

import { check, name, runAll } from "./checks.mjs";

const UNICODE = "Grüße, 世界 🗺";
const FIVE = [0, 1, 2, 3, 4].map((number) => `i-${number}`);

function newClient(endpoint, account, more) {
  return new ServiceDiscovery({
    endpoint,
    region: "us-east-1",
    credentials: { accessKeyId: account, secretAccessKey: "none" },
    disableHostPrefix: true,
    ...more,
  });
}

const protocol = process.env.SD_PROTOCOL === "cbor" ? { protocol: AwsSmithyRpcV2CborProtocol } : {};
// One attempt, so that a check sees each answer.
const forChecks = { maxAttempts: 1, ...protocol };

function clientOf(endpoint, more) {
  return newClient(endpoint, process.env.AWS_ACCESS_KEY_ID, { ...forChecks, ...more });
}

const sd = clientOf(process.env.SD_ENDPOINT);
const timed = clientOf(process.env.SD_ENDPOINT_TIMED);

/** Waits for an operation to end, and returns it. */
async function polled({ OperationId }, client = sd) {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const { Operation } = await client.getOperation({ OperationId });
    if (["SUCCESS", "FAIL"].includes(Operation.Status)) {
      equal(Operation.Status, "SUCCESS");
      return Operation;
    }
    ok(Date.now() < deadline, `${OperationId} is ${Operation.Status}`);
    await sleep(200); // a poll, bounded by the deadline
  }
}

/** The id of the namespace that an operation created. */
async function madeNamespace(started) {
  return (await polled(started)).Targets.NAMESPACE;
}

async function getNamespace(Id) {
  return (await sd.getNamespace({ Id })).Namespace;
}

/** Creates an HTTP namespace, and returns its id and name. */
async function httpNamespace(more) {
  const called = name("http");
  return { namespace: await madeNamespace(await sd.createHttpNamespace({ Name: called, ...more })), called };
}

async function serviceIn(namespace, more) {
  return (await sd.createService({ Name: name("service"), NamespaceId: namespace, ...more })).Service;
}

/** Creates a service in a new namespace, and returns its id. */
async function newService(more) {
  const { namespace } = await httpNamespace();
  return (await serviceIn(namespace, more)).Id;
}

const customHealth = { HealthCheckCustomConfig: { FailureThreshold: 1 } };

async function register(ServiceId, InstanceId, Attributes) {
  return polled(await sd.registerInstance({ ServiceId, InstanceId, Attributes }));
}

async function tagsOf(ResourceARN) {
  const { Tags } = await sd.listTagsForResource({ ResourceARN });
  return Object.fromEntries(Tags.map(({ Key, Value }) => [Key, Value]));
}

/** The error of a refused call, which must be of this class of the SDK. */
async function refused(kind, call) {
  let answer;
  try {
    answer = await call;
  } catch (error) {
    // Not instanceof, which the SDK's errors decide by name.
    if (error.constructor !== kind) throw error;
    ok(error.message, `${kind.name} without a message`);
    return error;
  }
  throw new Error(`${kind.name} is expected, not: ${JSON.stringify(answer)}`);
}

check("namespace.http", async () => {
  const called = name("http");
  const more = { CreatorRequestId: "token", Description: "d", Tags: [{ Key: "k", Value: "v" }] };
  const { Type, Targets } = await polled(await sd.createHttpNamespace({ Name: called, ...more }));
  equal(Type, "CREATE_NAMESPACE");
  const Id = Targets.NAMESPACE;
  const found = await getNamespace(Id);
  equal([found.Name, found.Type, found.Description], [called, "HTTP", "d"]);
  equal(found.Properties.HttpProperties.HttpName, called);
  await polled(await sd.updateHttpNamespace({ Id, Namespace: { Description: "e" } }));
  equal((await getNamespace(Id)).Description, "e");
  await polled(await sd.deleteNamespace({ Id }));
  await refused(sdk.NamespaceNotFound, sd.getNamespace({ Id }));
});

check("namespace.private", async () => {
  const soa = (TTL) => ({ DnsProperties: { SOA: { TTL } } });
  const request = { Name: `${name("private")}.local`, Vpc: "vpc-1", Properties: soa(30) };
  const Id = await madeNamespace(await sd.createPrivateDnsNamespace(request));
  const got = async () => (await getNamespace(Id)).Properties.DnsProperties;
  ok((await got()).HostedZoneId, "HostedZoneId is missing");
  equal((await got()).SOA.TTL, 30);
  await polled(await sd.updatePrivateDnsNamespace({ Id, Namespace: { Properties: soa(40) } }));
  equal((await got()).SOA.TTL, 40);
  await polled(await sd.deleteNamespace({ Id }));
});

check("namespace.public", async () => {
  const Id = await madeNamespace(await sd.createPublicDnsNamespace({ Name: `${name("public")}.example` }));
  equal((await getNamespace(Id)).Type, "DNS_PUBLIC");
  await polled(await sd.deleteNamespace({ Id }));
});

check("operation.poll", async () => {
  const started = await timed.createHttpNamespace({ Name: name() });
  const { Status } = (await timed.getOperation(started)).Operation;
  ok(["SUBMITTED", "PENDING"].includes(Status), Status);
  await polled(started, timed);
});

check("service.lifecycle", async () => {
  const request = { Name: `${name("zone")}.local`, Vpc: "vpc-1" };
  const namespace = await madeNamespace(await sd.createPrivateDnsNamespace(request));
  const records = (TTL) => ["A", "SRV"].map((Type) => ({ Type, TTL }));
  const dns = { NamespaceId: namespace, RoutingPolicy: "MULTIVALUE", DnsRecords: records(60) };
  const { Id } = (await sd.createService({ Name: "web", DnsConfig: dns })).Service;
  const got = async () => (await sd.getService({ Id })).Service.DnsConfig;
  equal([(await got()).NamespaceId, (await got()).DnsRecords], [namespace, records(60)]);
  await polled(await sd.updateService({ Id, Service: { DnsConfig: { DnsRecords: records(5) } } }));
  equal((await got()).DnsRecords, records(5));
  const Filters = [{ Name: "NAMESPACE_ID", Values: [namespace], Condition: "EQ" }];
  equal((await sd.listServices({ Filters })).Services.map((found) => found.Id), [Id]);
  await sd.deleteService({ Id });
  await refused(sdk.ServiceNotFound, sd.getService({ Id }));
});

check("service.attributes", async () => {
  const ServiceId = await newService();
  const got = async () => (await sd.getServiceAttributes({ ServiceId })).ServiceAttributes.Attributes;
  await sd.updateServiceAttributes({ ServiceId, Attributes: { a: "1", b: "2" } });
  equal(await got(), { a: "1", b: "2" });
  await sd.deleteServiceAttributes({ ServiceId, Attributes: ["a"] });
  equal(await got(), { b: "2" });
});

check("instance.lifecycle", async () => {
  const ServiceId = await newService();
  const InstanceId = "i-1";
  const got = async () => (await sd.getInstance({ ServiceId, InstanceId })).Instance.Attributes;
  const { Targets } = await register(ServiceId, InstanceId, { stage: "blue" });
  equal(Targets, { SERVICE: ServiceId, INSTANCE: InstanceId });
  equal(await got(), { stage: "blue" });
  await register(ServiceId, InstanceId, { stage: "green" });
  equal(await got(), { stage: "green" });
  equal((await sd.listInstances({ ServiceId })).Instances.map((found) => found.Id), [InstanceId]);
  await polled(await sd.deregisterInstance({ ServiceId, InstanceId }));
  await refused(sdk.InstanceNotFound, sd.getInstance({ ServiceId, InstanceId }));
});

check("instance.health", async () => {
  const ServiceId = await newService(customHealth);
  await register(ServiceId, "i-1", { a: "b" });
  await sd.updateInstanceCustomHealthStatus({ ServiceId, InstanceId: "i-1", Status: "UNHEALTHY" });
  equal((await sd.getInstancesHealthStatus({ ServiceId })).Status, { "i-1": "UNHEALTHY" });
});

check("discover.instances", async () => {
  const { namespace, called } = await httpNamespace();
  const service = await serviceIn(namespace);
  const attributes = { AWS_INSTANCE_IPV4: "10.0.0.1" };
  await register(service.Id, "i-1", attributes);
  const names = { NamespaceName: called, ServiceName: service.Name };
  const { Instances, InstancesRevision } = await sd.discoverInstances(names);
  equal(Instances, [{ InstanceId: "i-1", ...names, Attributes: attributes, HealthStatus: "UNKNOWN" }]);
  equal(InstancesRevision, (await sd.discoverInstancesRevision(names)).InstancesRevision);
});

/** Creates a service. Returns its id, its names, and a function that discovers its instances and returns their ids. */
async function discovery(more) {
  const { namespace, called } = await httpNamespace();
  const service = await serviceIn(namespace, more);
  const names = { NamespaceName: called, ServiceName: service.Name };
  const found = async (request) =>
    (await sd.discoverInstances({ ...names, ...request })).Instances.map(({ InstanceId }) => InstanceId).sort();
  return { ServiceId: service.Id, names, found };
}

check("discover.parameters", async () => {
  const { ServiceId, found } = await discovery();
  await register(ServiceId, "a", { stage: "blue", zone: "1" });
  await register(ServiceId, "b", { stage: "blue", zone: "2" });
  await register(ServiceId, "c", { stage: "green", zone: "2" });
  equal(await found({ QueryParameters: { stage: "blue" } }), ["a", "b"]);
  equal(await found({ QueryParameters: { stage: "blue" }, OptionalParameters: { zone: "2" } }), ["b"]);
  equal(await found({ OptionalParameters: { zone: "3" } }), ["a", "b", "c"]);
});

check("discover.health", async () => {
  const { ServiceId, found } = await discovery(customHealth);
  await register(ServiceId, "ill", { a: "b" });
  await register(ServiceId, "well", { a: "b" });
  await sd.updateInstanceCustomHealthStatus({ ServiceId, InstanceId: "ill", Status: "UNHEALTHY" });
  equal(await found({ HealthStatus: "HEALTHY" }), ["well"]);
  equal(await found({ HealthStatus: "UNHEALTHY" }), ["ill"]);
  equal(await found({ HealthStatus: "ALL" }), ["ill", "well"]);
  equal(await found({ HealthStatus: "HEALTHY_OR_ELSE_ALL" }), ["well"]);
});

check("error.namespace-exists", async () => {
  const { namespace, called } = await httpNamespace({ CreatorRequestId: "first" });
  const error = await refused(sdk.NamespaceAlreadyExists, sd.createHttpNamespace({ Name: called }));
  equal([error.NamespaceId, error.CreatorRequestId], [namespace, "first"]);
});

check("error.service-exists", async () => {
  const { namespace } = await httpNamespace();
  const { Id, Name } = await serviceIn(namespace, { CreatorRequestId: "first" });
  const error = await refused(sdk.ServiceAlreadyExists, sd.createService({ Name, NamespaceId: namespace }));
  equal([error.ServiceId, error.CreatorRequestId], [Id, "first"]);
});

check("error.duplicate-request", async () => {
  const request = { Name: name() };
  const { OperationId } = await timed.createHttpNamespace(request);
  const error = await refused(sdk.DuplicateRequest, timed.createHttpNamespace(request));
  equal(error.DuplicateOperationId, OperationId);
});

check("error.in-use", async () => {
  const { namespace } = await httpNamespace();
  await serviceIn(namespace);
  await refused(sdk.ResourceInUse, sd.deleteNamespace({ Id: namespace }));
});

check("error.not-found", async () => {
  const ServiceId = await newService();
  await register(ServiceId, "i-1", { a: "b" });
  const ResourceARN = "arn:aws:servicediscovery:us-east-1:123456789012:service/srv-none";
  const report = { ServiceId, InstanceId: "i-1", Status: "HEALTHY" };
  await refused(sdk.NamespaceNotFound, sd.getNamespace({ Id: "ns-none" }));
  await refused(sdk.ServiceNotFound, sd.getService({ Id: "srv-none" }));
  await refused(sdk.InstanceNotFound, sd.getInstance({ ServiceId, InstanceId: "i-none" }));
  await refused(sdk.OperationNotFound, sd.getOperation({ OperationId: "none" }));
  await refused(sdk.ResourceNotFoundException, sd.listTagsForResource({ ResourceARN }));
  await refused(sdk.CustomHealthNotFound, sd.updateInstanceCustomHealthStatus(report));
});

check("error.invalid-input", async () => {
  const error = await refused(sdk.InvalidInput, sd.createHttpNamespace({ Name: "with a space" }));
  ok(error.message.includes("name"), error.message);
});

check("error.too-many-tags", async () => {
  const ResourceARN = (await getNamespace((await httpNamespace()).namespace)).Arn;
  const tags = Array.from({ length: 51 }, (_, number) => ({ Key: `k${number}`, Value: "v" }));
  await sd.tagResource({ ResourceARN, Tags: tags.slice(0, 50) });
  const error = await refused(sdk.TooManyTagsException, sd.tagResource({ ResourceARN, Tags: tags.slice(50) }));
  equal(error.ResourceName, ResourceARN);
});

check("error.limit", async () => {
  const client = clientOf(process.env.SD_ENDPOINT_QUOTAS);
  for (let made = 0; made < 50; made += 1) await client.createHttpNamespace({ Name: name() });
  await refused(sdk.ResourceLimitExceeded, client.createHttpNamespace({ Name: name() }));
});

/** The items of all pages of a paginator, each of which may have at most 2. */
async function allPages(paginate, request, items) {
  const found = [];
  for await (const page of paginate({ client: sd, pageSize: 2 }, request)) {
    ok(items(page).length <= 2, `a page of ${items(page).length}`);
    found.push(...items(page));
  }
  return found;
}

check("pages.namespaces", async () => {
  const prefix = name("paged");
  const ids = [];
  for (const id of FIVE) ids.push(await madeNamespace(await sd.createHttpNamespace({ Name: `${prefix}-${id}` })));
  const Filters = [{ Name: "NAME", Values: [prefix], Condition: "BEGINS_WITH" }];
  const found = await allPages(sdk.paginateListNamespaces, { Filters }, (page) => page.Namespaces);
  equal(found.map(({ Id }) => Id), ids);
});

check("pages.services", async () => {
  const { namespace } = await httpNamespace();
  const ids = [];
  for (const _ of FIVE) ids.push((await serviceIn(namespace)).Id);
  const Filters = [{ Name: "NAMESPACE_ID", Values: [namespace] }];
  const found = await allPages(sdk.paginateListServices, { Filters }, (page) => page.Services);
  equal(found.map(({ Id }) => Id), ids);
});

async function fiveInstances() {
  const ServiceId = await newService();
  for (const id of FIVE) await register(ServiceId, id, { a: "b" });
  return { ServiceId };
}

check("pages.instances", async () => {
  const found = await allPages(sdk.paginateListInstances, await fiveInstances(), (page) => page.Instances);
  equal(found.map(({ Id }) => Id), FIVE);
});

check("pages.health", async () => {
  const ids = (page) => Object.keys(page.Status);
  const found = await allPages(sdk.paginateGetInstancesHealthStatus, await fiveInstances(), ids);
  equal(found.sort(), FIVE);
});

check("pages.operations", async () => {
  const { ServiceId } = await fiveInstances();
  const Filters = [
    { Name: "TYPE", Values: ["REGISTER_INSTANCE"], Condition: "EQ" },
    { Name: "SERVICE_ID", Values: [ServiceId], Condition: "EQ" },
  ];
  const found = await allPages(sdk.paginateListOperations, { Filters }, (page) => page.Operations);
  equal(found.length, 5);
  equal(new Set(found.map(({ Id }) => Id)).size, 5);
});

check("tags", async () => {
  const { namespace } = await httpNamespace({ Tags: [{ Key: "k", Value: "v" }] });
  const ResourceARN = (await getNamespace(namespace)).Arn;
  await sd.tagResource({ ResourceARN, Tags: [{ Key: "l", Value: "w" }] });
  equal(await tagsOf(ResourceARN), { k: "v", l: "w" });
  await sd.untagResource({ ResourceARN, TagKeys: ["k"] });
  equal(await tagsOf(ResourceARN), { l: "w" });
});

check("idempotency", async () => {
  const token = { CreatorRequestId: "token" };
  const namespace = { Name: name(), ...token };
  const created = await sd.createHttpNamespace(namespace);
  equal((await sd.createHttpNamespace(namespace)).OperationId, created.OperationId);
  const service = { Name: "web", NamespaceId: await madeNamespace(created), ...token };
  const { Id } = (await sd.createService(service)).Service;
  equal((await sd.createService(service)).Service.Id, Id);
  const instance = { ServiceId: Id, InstanceId: "i", Attributes: { a: "b" }, ...token };
  const { OperationId } = await sd.registerInstance(instance);
  equal((await sd.registerInstance(instance)).OperationId, OperationId);
});

check("unicode", async () => {
  const { namespace } = await httpNamespace({ Description: UNICODE, Tags: [{ Key: "k", Value: "Grüße" }] });
  const found = await getNamespace(namespace);
  equal(found.Description, UNICODE);
  equal(await tagsOf(found.Arn), { k: "Grüße" });
  const { Id } = await serviceIn(namespace);
  const request = { ServiceId: Id, InstanceId: "i-1", Attributes: { text: UNICODE } };
  await refused(sdk.InvalidInput, sd.registerInstance(request));
});

check("limits.max-results", async () => {
  const { names } = await discovery();
  await refused(sdk.InvalidInput, sd.discoverInstances({ ...names, MaxResults: 1001 }));
});

check("limits.attribute", async () => {
  const request = { ServiceId: await newService(), InstanceId: "i-1", Attributes: { a: "x".repeat(1025) } };
  await refused(sdk.InvalidInput, sd.registerInstance(request));
});

check("limits.body", async () => {
  const request = { Name: name(), Description: "d".repeat(3 << 19) };
  const error = await sd.createHttpNamespace(request).catch((error) => error);
  ok(error instanceof sdk.ServiceDiscoveryServiceException, error);
  equal(error.$metadata.httpStatusCode, 413);
});

async function listsAndDiscovers(client) {
  await client.listNamespaces({});
  const nowhere = { NamespaceName: "nowhere", ServiceName: "web" };
  await refused(sdk.NamespaceNotFound, client.discoverInstances(nowhere));
}

check("wire.keep-alive", async () => {
  const client = clientOf(process.env.SD_KEEP_ALIVE);
  for (let calls = 0; calls < 10; calls += 1) await client.listNamespaces({});
});

check("settings.environment", () =>
  listsAndDiscovers(new ServiceDiscovery({ disableHostPrefix: true, ...forChecks })),
);

check("wire.ipv6", () => listsAndDiscovers(clientOf(process.env.SD_ENDPOINT_IPV6)));

check("wire.proxy", async () => {
  const httpAgent = new HttpProxyAgent(process.env.SD_PROXY);
  const endpoint = "http://servicediscovery.us-east-1.amazonaws.com";
  await listsAndDiscovers(clientOf(endpoint, { disableHostPrefix: false, requestHandler: { httpAgent } }));
});

check("wire.expect-continue", async () => {
  const client = clientOf(process.env.SD_EXPECT);
  const expect = (next) => (args) => {
    args.request.headers.Expect = "100-continue";
    return next(args);
  };
  client.middlewareStack.add(expect, { step: "build" });
  await client.listNamespaces({});
});

await runAll();
