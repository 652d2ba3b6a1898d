import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.services.servicediscovery.ServiceDiscoveryClient;
import software.amazon.awssdk.services.servicediscovery.model.*;

/** The checks with the AWS SDK for Java 2.x. */
public final class Main {
    private static final Map<String, Check> CHECKS = new LinkedHashMap<>();
    private static final AtomicInteger NUMBERS = new AtomicInteger();
    private static final String UNICODE = "Grüße, 世界 🗺";
    private static final List<String> FIVE = IntStream.range(0, 5).mapToObj(n -> "i-" + n).toList();
    private static final ServiceDiscoveryClient SD = Clients.of(System.getenv("SD_ENDPOINT"));
    private static final ServiceDiscoveryClient TIMED = Clients.of(System.getenv("SD_ENDPOINT_TIMED"));

    private interface Check {
        void run() throws Exception;
    }

    private record Namespace(String id, String name) {}

    private Main() {}

    private static String name(String prefix) {
        return prefix + "-" + NUMBERS.incrementAndGet();
    }

    private static void equal(Object got, Object expected) {
        if (!Objects.equals(got, expected)) {
            throw new AssertionError("expected " + expected + ", got " + got);
        }
    }

    private static void holds(boolean condition, Object got) {
        if (!condition) {
            throw new AssertionError(String.valueOf(got));
        }
    }

    /** The error of a refused call, as the SDK's own type. */
    private static <E extends AwsServiceException> E refused(Class<E> kind, Runnable call) {
        try {
            call.run();
        } catch (AwsServiceException error) {
            if (kind.isInstance(error) && error.awsErrorDetails().errorMessage() != null) {
                return kind.cast(error);
            }
            throw error;
        }
        throw new AssertionError("the call was not refused with " + kind.getSimpleName());
    }

    /** Waits for an operation to end, and returns it. */
    private static Operation polled(ServiceDiscoveryClient client, String id) throws InterruptedException {
        long deadline = System.nanoTime() + 30_000_000_000L;
        while (true) {
            Operation found = client.getOperation(b -> b.operationId(id)).operation();
            if (found.status() == OperationStatus.SUCCESS) {
                return found;
            }
            holds(found.status() != OperationStatus.FAIL && System.nanoTime() < deadline, found);
            Thread.sleep(200); // a poll, bounded by the deadline
        }
    }

    private static String target(String operation, OperationTargetType type) throws InterruptedException {
        return polled(SD, operation).targets().get(type);
    }

    private static Namespace http(Consumer<CreateHttpNamespaceRequest.Builder> more) throws InterruptedException {
        String name = name("http");
        String started = SD.createHttpNamespace(b -> more.accept(b.name(name))).operationId();
        return new Namespace(target(started, OperationTargetType.NAMESPACE), name);
    }

    private static Namespace http() throws InterruptedException {
        return http(b -> {});
    }

    private static Service service(String namespace, Consumer<CreateServiceRequest.Builder> more) {
        return SD.createService(b -> more.accept(b.name(name("service")).namespaceId(namespace))).service();
    }

    private static String service() throws InterruptedException {
        return service(http().id(), b -> {}).id();
    }

    private static void register(String service, String instance, Map<String, String> attributes)
            throws InterruptedException {
        var started = SD.registerInstance(b -> b.serviceId(service).instanceId(instance).attributes(attributes));
        polled(SD, started.operationId());
    }

    private static List<DnsRecord> records(long ttl) {
        return Stream.of(RecordType.A, RecordType.SRV)
                .map(type -> DnsRecord.builder().type(type).ttl(ttl).build())
                .toList();
    }

    private static Tag tag(String key, String value) {
        return Tag.builder().key(key).value(value).build();
    }

    private static void lifeCycles() {
        CHECKS.put("namespace.http", () -> {
            var made = http(b -> b.creatorRequestId("token").description("d").tags(tag("k", "v")));
            var found = SD.getNamespace(b -> b.id(made.id())).namespace();
            equal(List.of(found.name(), found.type(), found.description()), List.of(made.name(), NamespaceType.HTTP, "d"));
            equal(found.properties().httpProperties().httpName(), made.name());
            polled(SD, SD.updateHttpNamespace(b -> b.id(made.id()).namespace(n -> n.description("e"))).operationId());
            equal(SD.getNamespace(b -> b.id(made.id())).namespace().description(), "e");
            polled(SD, SD.deleteNamespace(b -> b.id(made.id())).operationId());
            refused(NamespaceNotFoundException.class, () -> SD.getNamespace(b -> b.id(made.id())));
        });
        CHECKS.put("namespace.private", () -> {
            var started = SD.createPrivateDnsNamespace(b -> b.name(name("private") + ".local")
                    .vpc("vpc-1")
                    .properties(p -> p.dnsProperties(d -> d.soa(s -> s.ttl(30L)))));
            String id = target(started.operationId(), OperationTargetType.NAMESPACE);
            var zone = SD.getNamespace(b -> b.id(id)).namespace().properties().dnsProperties();
            holds(zone.hostedZoneId() != null && zone.soa().ttl() == 30, zone);
            var updated = SD.updatePrivateDnsNamespace(b -> b.id(id)
                    .namespace(n -> n.properties(p -> p.dnsProperties(d -> d.soa(s -> s.ttl(40L))))));
            polled(SD, updated.operationId());
            equal(SD.getNamespace(b -> b.id(id)).namespace().properties().dnsProperties().soa().ttl(), 40L);
            polled(SD, SD.deleteNamespace(b -> b.id(id)).operationId());
        });
        CHECKS.put("namespace.public", () -> {
            var started = SD.createPublicDnsNamespace(b -> b.name(name("public") + ".example"));
            String id = target(started.operationId(), OperationTargetType.NAMESPACE);
            equal(SD.getNamespace(b -> b.id(id)).namespace().type(), NamespaceType.DNS_PUBLIC);
            polled(SD, SD.deleteNamespace(b -> b.id(id)).operationId());
        });
        CHECKS.put("operation.poll", () -> {
            String started = TIMED.createHttpNamespace(b -> b.name(name("n"))).operationId();
            var first = TIMED.getOperation(b -> b.operationId(started)).operation().status();
            holds(first == OperationStatus.SUBMITTED || first == OperationStatus.PENDING, first);
            polled(TIMED, started);
        });
        CHECKS.put("service.lifecycle", () -> {
            var started = SD.createPrivateDnsNamespace(b -> b.name(name("zone") + ".local").vpc("vpc-1"));
            String namespace = target(started.operationId(), OperationTargetType.NAMESPACE);
            String id = SD.createService(b -> b.name("web").dnsConfig(c -> c.namespaceId(namespace)
                            .routingPolicy(RoutingPolicy.MULTIVALUE)
                            .dnsRecords(records(60))))
                    .service()
                    .id();
            var found = SD.getService(b -> b.id(id)).service().dnsConfig();
            equal(List.of(found.namespaceId(), found.dnsRecords()), List.of(namespace, records(60)));
            var updated = SD.updateService(b -> b.id(id).service(s -> s.dnsConfig(c -> c.dnsRecords(records(5)))));
            polled(SD, updated.operationId());
            equal(SD.getService(b -> b.id(id)).service().dnsConfig().dnsRecords(), records(5));
            var listed = SD.listServices(b -> b.filters(f -> f.name(ServiceFilterName.NAMESPACE_ID)
                    .values(namespace)
                    .condition(FilterCondition.EQ)));
            equal(listed.services().stream().map(ServiceSummary::id).toList(), List.of(id));
            SD.deleteService(b -> b.id(id));
            refused(ServiceNotFoundException.class, () -> SD.getService(b -> b.id(id)));
        });
        CHECKS.put("service.attributes", () -> {
            String id = service();
            SD.updateServiceAttributes(b -> b.serviceId(id).attributes(Map.of("a", "1", "b", "2")));
            equal(SD.getServiceAttributes(b -> b.serviceId(id)).serviceAttributes().attributes(), Map.of("a", "1", "b", "2"));
            SD.deleteServiceAttributes(b -> b.serviceId(id).attributes("a"));
            equal(SD.getServiceAttributes(b -> b.serviceId(id)).serviceAttributes().attributes(), Map.of("b", "2"));
        });
        CHECKS.put("instance.lifecycle", () -> {
            String id = service();
            for (String stage : List.of("blue", "green")) {
                register(id, "i-1", Map.of("stage", stage));
                var found = SD.getInstance(b -> b.serviceId(id).instanceId("i-1")).instance();
                equal(found.attributes(), Map.of("stage", stage));
            }
            var listed = SD.listInstances(b -> b.serviceId(id)).instances();
            equal(listed.stream().map(InstanceSummary::id).toList(), List.of("i-1"));
            polled(SD, SD.deregisterInstance(b -> b.serviceId(id).instanceId("i-1")).operationId());
            refused(InstanceNotFoundException.class, () -> SD.getInstance(b -> b.serviceId(id).instanceId("i-1")));
        });
        CHECKS.put("instance.health", () -> {
            String id = service(http().id(), b -> b.healthCheckCustomConfig(c -> c.failureThreshold(1))).id();
            register(id, "i-1", Map.of("a", "b"));
            SD.updateInstanceCustomHealthStatus(
                    b -> b.serviceId(id).instanceId("i-1").status(CustomHealthStatus.UNHEALTHY));
            equal(SD.getInstancesHealthStatus(b -> b.serviceId(id)).status(), Map.of("i-1", HealthStatus.UNHEALTHY));
        });
        CHECKS.put("tags", () -> {
            var made = http(b -> b.tags(tag("k", "v")));
            String arn = SD.getNamespace(b -> b.id(made.id())).namespace().arn();
            SD.tagResource(b -> b.resourceARN(arn).tags(tag("l", "w")));
            var tags = SD.listTagsForResource(b -> b.resourceARN(arn)).tags();
            equal(tags.stream().collect(Collectors.toMap(Tag::key, Tag::value)), Map.of("k", "v", "l", "w"));
            SD.untagResource(b -> b.resourceARN(arn).tagKeys("k"));
            equal(SD.listTagsForResource(b -> b.resourceARN(arn)).tags(), List.of(tag("l", "w")));
        });
        CHECKS.put("idempotency", () -> {
            String name = name("n");
            String first = SD.createHttpNamespace(b -> b.name(name).creatorRequestId("token")).operationId();
            equal(SD.createHttpNamespace(b -> b.name(name).creatorRequestId("token")).operationId(), first);
            String namespace = target(first, OperationTargetType.NAMESPACE);
            Consumer<CreateServiceRequest.Builder> web =
                    b -> b.name("web").namespaceId(namespace).creatorRequestId("token");
            String id = SD.createService(web).service().id();
            equal(SD.createService(web).service().id(), id);
            Consumer<RegisterInstanceRequest.Builder> instance = b -> b.serviceId(id)
                    .instanceId("i")
                    .attributes(Map.of("a", "b"))
                    .creatorRequestId("token");
            equal(SD.registerInstance(instance).operationId(), SD.registerInstance(instance).operationId());
        });
        CHECKS.put("unicode", () -> {
            var made = http(b -> b.description(UNICODE).tags(tag("k", "Grüße")));
            var found = SD.getNamespace(b -> b.id(made.id())).namespace();
            equal(found.description(), UNICODE);
            equal(SD.listTagsForResource(b -> b.resourceARN(found.arn())).tags(), List.of(tag("k", "Grüße")));
            String id = service(made.id(), b -> {}).id();
            refused(InvalidInputException.class, () -> SD.registerInstance(
                    b -> b.serviceId(id).instanceId("i-1").attributes(Map.of("text", UNICODE))));
        });
    }

    private static List<String> discovered(
            Namespace namespace, Service service, Consumer<DiscoverInstancesRequest.Builder> more) {
        var found = SD.discoverInstances(
                b -> more.accept(b.namespaceName(namespace.name()).serviceName(service.name())));
        return found.instances().stream().map(HttpInstanceSummary::instanceId).sorted().toList();
    }

    private static void discovery() {
        CHECKS.put("discover.instances", () -> {
            var namespace = http();
            var service = service(namespace.id(), b -> {});
            register(service.id(), "i-1", Map.of("AWS_INSTANCE_IPV4", "10.0.0.1"));
            var answer = SD.discoverInstances(b -> b.namespaceName(namespace.name()).serviceName(service.name()));
            equal(answer.instances().size(), 1);
            var found = answer.instances().get(0);
            equal(
                    List.of(found.instanceId(), found.namespaceName(), found.serviceName(), found.healthStatus()),
                    List.of("i-1", namespace.name(), service.name(), HealthStatus.UNKNOWN));
            equal(found.attributes(), Map.of("AWS_INSTANCE_IPV4", "10.0.0.1"));
            var revision = SD.discoverInstancesRevision(
                    b -> b.namespaceName(namespace.name()).serviceName(service.name()));
            equal(answer.instancesRevision(), revision.instancesRevision());
        });
        CHECKS.put("discover.parameters", () -> {
            var namespace = http();
            var service = service(namespace.id(), b -> {});
            register(service.id(), "a", Map.of("stage", "blue", "zone", "1"));
            register(service.id(), "b", Map.of("stage", "blue", "zone", "2"));
            register(service.id(), "c", Map.of("stage", "green", "zone", "2"));
            var blue = Map.of("stage", "blue");
            equal(discovered(namespace, service, b -> b.queryParameters(blue)), List.of("a", "b"));
            equal(
                    discovered(namespace, service, b -> b.queryParameters(blue).optionalParameters(Map.of("zone", "2"))),
                    List.of("b"));
            equal(
                    discovered(namespace, service, b -> b.optionalParameters(Map.of("zone", "3"))),
                    List.of("a", "b", "c"));
        });
        CHECKS.put("discover.health", () -> {
            var namespace = http();
            var service = service(namespace.id(), b -> b.healthCheckCustomConfig(c -> c.failureThreshold(1)));
            register(service.id(), "ill", Map.of("a", "b"));
            register(service.id(), "well", Map.of("a", "b"));
            SD.updateInstanceCustomHealthStatus(
                    b -> b.serviceId(service.id()).instanceId("ill").status(CustomHealthStatus.UNHEALTHY));
            var expected = Map.of(
                    HealthStatusFilter.HEALTHY, List.of("well"),
                    HealthStatusFilter.UNHEALTHY, List.of("ill"),
                    HealthStatusFilter.ALL, List.of("ill", "well"),
                    HealthStatusFilter.HEALTHY_OR_ELSE_ALL, List.of("well"));
            expected.forEach((filter, ids) -> equal(discovered(namespace, service, b -> b.healthStatus(filter)), ids));
        });
    }

    private static void errors() {
        CHECKS.put("error.namespace-exists", () -> {
            var made = http(b -> b.creatorRequestId("first"));
            var error = refused(NamespaceAlreadyExistsException.class, () -> SD.createHttpNamespace(b -> b.name(made.name())));
            equal(List.of(error.namespaceId(), error.creatorRequestId()), List.of(made.id(), "first"));
        });
        CHECKS.put("error.service-exists", () -> {
            String namespace = http().id();
            var made = service(namespace, b -> b.name("web").creatorRequestId("first"));
            var error = refused(ServiceAlreadyExistsException.class, () -> service(namespace, b -> b.name("web")));
            equal(List.of(error.serviceId(), error.creatorRequestId()), List.of(made.id(), "first"));
        });
        CHECKS.put("error.duplicate-request", () -> {
            String name = name("n");
            String started = TIMED.createHttpNamespace(b -> b.name(name)).operationId();
            var error = refused(DuplicateRequestException.class, () -> TIMED.createHttpNamespace(b -> b.name(name)));
            equal(error.duplicateOperationId(), started);
        });
        CHECKS.put("error.in-use", () -> {
            String namespace = http().id();
            service(namespace, b -> {});
            refused(ResourceInUseException.class, () -> SD.deleteNamespace(b -> b.id(namespace)));
        });
        CHECKS.put("error.not-found", () -> {
            String id = service();
            register(id, "i-1", Map.of("a", "b"));
            String arn = "arn:aws:servicediscovery:us-east-1:123456789012:service/srv-none";
            refused(NamespaceNotFoundException.class, () -> SD.getNamespace(b -> b.id("ns-none")));
            refused(ServiceNotFoundException.class, () -> SD.getService(b -> b.id("srv-none")));
            refused(InstanceNotFoundException.class, () -> SD.getInstance(b -> b.serviceId(id).instanceId("i-none")));
            refused(OperationNotFoundException.class, () -> SD.getOperation(b -> b.operationId("none")));
            refused(ResourceNotFoundException.class, () -> SD.listTagsForResource(b -> b.resourceARN(arn)));
            refused(CustomHealthNotFoundException.class, () -> SD.updateInstanceCustomHealthStatus(
                    b -> b.serviceId(id).instanceId("i-1").status(CustomHealthStatus.HEALTHY)));
        });
        CHECKS.put("error.invalid-input", () -> {
            var error = refused(InvalidInputException.class, () -> SD.createHttpNamespace(b -> b.name("with a space")));
            holds(error.awsErrorDetails().errorMessage().contains("'name'"), error);
        });
        CHECKS.put("error.too-many-tags", () -> {
            var made = http();
            String arn = SD.getNamespace(b -> b.id(made.id())).namespace().arn();
            var tags = IntStream.range(0, 50).mapToObj(n -> tag("k" + n, "v")).toList();
            SD.tagResource(b -> b.resourceARN(arn).tags(tags));
            var error = refused(
                    TooManyTagsException.class, () -> SD.tagResource(b -> b.resourceARN(arn).tags(tag("one", "more"))));
            equal(error.resourceName(), arn);
        });
        CHECKS.put("error.limit", () -> {
            try (var client = Clients.of(System.getenv("SD_ENDPOINT_QUOTAS"))) {
                IntStream.range(0, 50).forEach(n -> client.createHttpNamespace(b -> b.name(name("n"))));
                refused(ResourceLimitExceededException.class, () -> client.createHttpNamespace(b -> b.name(name("n"))));
            }
        });
    }

    /** The items of all pages, each of which may have at most two. */
    private static <P, T> List<T> items(Iterable<P> pages, Function<P, List<T>> items) {
        var all = new ArrayList<T>();
        for (P page : pages) {
            holds(items.apply(page).size() <= 2, page);
            all.addAll(items.apply(page));
        }
        return all;
    }

    private static String fiveInstances() throws InterruptedException {
        String id = service();
        for (String instance : FIVE) {
            register(id, instance, Map.of("a", "b"));
        }
        return id;
    }

    private static void pages() {
        CHECKS.put("pages.namespaces", () -> {
            String prefix = name("paged");
            var ids = new ArrayList<String>();
            for (int n = 0; n < 5; n++) {
                String name = prefix + "-" + n;
                ids.add(target(SD.createHttpNamespace(b -> b.name(name)).operationId(), OperationTargetType.NAMESPACE));
            }
            var pages = SD.listNamespacesPaginator(b -> b.maxResults(2).filters(f -> f.name(NamespaceFilterName.NAME)
                    .values(prefix)
                    .condition(FilterCondition.BEGINS_WITH)));
            equal(items(pages, page -> page.namespaces().stream().map(NamespaceSummary::id).toList()), ids);
        });
        CHECKS.put("pages.services", () -> {
            String namespace = http().id();
            var ids = Stream.generate(() -> service(namespace, b -> {}).id()).limit(5).toList();
            var pages = SD.listServicesPaginator(
                    b -> b.maxResults(2).filters(f -> f.name(ServiceFilterName.NAMESPACE_ID).values(namespace)));
            equal(items(pages, page -> page.services().stream().map(ServiceSummary::id).toList()), ids);
        });
        CHECKS.put("pages.instances", () -> {
            String id = fiveInstances();
            var pages = SD.listInstancesPaginator(b -> b.serviceId(id).maxResults(2));
            equal(items(pages, page -> page.instances().stream().map(InstanceSummary::id).toList()), FIVE);
        });
        CHECKS.put("pages.health", () -> {
            String id = fiveInstances();
            var pages = SD.getInstancesHealthStatusPaginator(b -> b.serviceId(id).maxResults(2));
            var found = items(pages, page -> List.copyOf(page.status().keySet()));
            equal(found.stream().sorted().toList(), FIVE);
        });
        CHECKS.put("pages.operations", () -> {
            String id = fiveInstances();
            var pages = SD.listOperationsPaginator(b -> b.maxResults(2)
                    .filters(
                            f -> f.name(OperationFilterName.TYPE).values("REGISTER_INSTANCE").condition(FilterCondition.EQ),
                            f -> f.name(OperationFilterName.SERVICE_ID).values(id).condition(FilterCondition.EQ)));
            var found = items(pages, page -> page.operations().stream().map(OperationSummary::id).toList());
            equal(found.stream().distinct().count(), 5L);
        });
    }

    private static void limits() {
        CHECKS.put("limits.max-results", () -> {
            var namespace = http();
            var service = service(namespace.id(), b -> {});
            refused(
                    InvalidInputException.class, () -> discovered(namespace, service, b -> b.maxResults(1001)));
        });
        CHECKS.put("limits.attribute", () -> {
            String id = service();
            var attributes = Map.of("a", "x".repeat(1025));
            refused(InvalidInputException.class, () -> SD.registerInstance(
                    b -> b.serviceId(id).instanceId("i-1").attributes(attributes)));
        });
        CHECKS.put("limits.body", () -> {
            var error = refused(AwsServiceException.class, () -> SD.createHttpNamespace(
                    b -> b.name(name("n")).description("d".repeat(3 << 19))));
            equal(error.statusCode(), 413);
        });
    }

    private static void findsNothing(ServiceDiscoveryClient client) {
        client.listNamespaces();
        refused(NamespaceNotFoundException.class, () -> client.discoverInstances(
                b -> b.namespaceName("nowhere").serviceName("web")));
    }

    private static void wire() {
        CHECKS.put("wire.keep-alive", () -> {
            try (var client = Clients.of(System.getenv("SD_KEEP_ALIVE"))) {
                IntStream.range(0, 10).forEach(n -> client.listNamespaces());
            }
        });
        CHECKS.put("settings.environment", () -> {
            try (var client = Clients.ofEnvironment()) {
                findsNothing(client);
            }
        });
        CHECKS.put("wire.ipv6", () -> {
            try (var client = Clients.of(System.getenv("SD_ENDPOINT_IPV6"))) {
                findsNothing(client);
            }
        });
        CHECKS.put("wire.proxy", () -> {
            try (var client = Clients.behind(System.getenv("SD_PROXY"))) {
                findsNothing(client);
            }
        });
        CHECKS.put("wire.expect-continue", () -> {
            String endpoint = System.getenv("SD_EXPECT");
            try (var client = Clients.with(endpoint, o -> o.putHeader("Expect", "100-continue"))) {
                client.listNamespaces();
            }
        });
    }

    public static void main(String[] arguments) {
        lifeCycles();
        discovery();
        errors();
        pages();
        limits();
        wire();
        boolean failed = false;
        for (var check : CHECKS.entrySet()) {
            try {
                check.getValue().run();
                System.out.println("ok " + check.getKey());
            } catch (Exception | AssertionError error) {
                failed = true;
                System.out.println("not ok " + check.getKey() + ": " + String.valueOf(error).replaceAll("\\s+", " "));
                error.printStackTrace();
            }
        }
        System.exit(failed ? 1 : 0);
    }
}
