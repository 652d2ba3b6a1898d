import java.net.URI;
import java.util.function.Consumer;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.core.client.config.ClientOverrideConfiguration;
import software.amazon.awssdk.core.client.config.SdkAdvancedClientOption;
import software.amazon.awssdk.http.apache5.Apache5HttpClient;
import software.amazon.awssdk.http.apache5.ProxyConfiguration;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.retries.DefaultRetryStrategy;
import software.amazon.awssdk.services.servicediscovery.ServiceDiscoveryClient;
import software.amazon.awssdk.services.servicediscovery.ServiceDiscoveryClientBuilder;

/** Creates clients. */
final class Clients {
    private static final String ACCOUNT = System.getenv("AWS_ACCESS_KEY_ID");

    private Clients() {}

    /** As in sd-http/docs/clients.md. */
    private static ServiceDiscoveryClientBuilder builder(String endpoint, String account) {
        return ServiceDiscoveryClient.builder()
                .endpointOverride(URI.create(endpoint))
                .region(Region.US_EAST_1)
                .credentialsProvider(StaticCredentialsProvider.create(AwsBasicCredentials.create(account, "none")))
                .overrideConfiguration(o -> o.putAdvancedOption(
                        SdkAdvancedClientOption.DISABLE_HOST_PREFIX_INJECTION, true));
    }

    static ServiceDiscoveryClient of(String endpoint) {
        return with(endpoint, o -> {});
    }

    /** One attempt, so that a check sees each answer. */
    static ServiceDiscoveryClient with(String endpoint, Consumer<ClientOverrideConfiguration.Builder> more) {
        var builder = builder(endpoint, ACCOUNT);
        var settings = builder.overrideConfiguration().toBuilder().retryStrategy(DefaultRetryStrategy.doNotRetry());
        more.accept(settings);
        return builder.overrideConfiguration(settings.build()).httpClient(Apache5HttpClient.create()).build();
    }

    /** As in sd-http/docs/clients.md, from variables. */
    static ServiceDiscoveryClient ofEnvironment() {
        return ServiceDiscoveryClient.builder()
                .httpClient(Apache5HttpClient.create())
                .overrideConfiguration(o -> o.retryStrategy(DefaultRetryStrategy.doNotRetry())
                        .putAdvancedOption(SdkAdvancedClientOption.DISABLE_HOST_PREFIX_INJECTION, true))
                .build();
    }

    /** Through a proxy, with the host prefix and AWS's own endpoint. */
    static ServiceDiscoveryClient behind(String proxy) {
        var through = ProxyConfiguration.builder().endpoint(URI.create(proxy)).build();
        return ServiceDiscoveryClient.builder()
                .endpointOverride(URI.create("http://servicediscovery.us-east-1.amazonaws.com"))
                .region(Region.US_EAST_1)
                .httpClient(Apache5HttpClient.builder().proxyConfiguration(through).build())
                .overrideConfiguration(o -> o.retryStrategy(DefaultRetryStrategy.doNotRetry()))
                .build();
    }
}
