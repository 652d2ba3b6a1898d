package main

import (
	"net/http"
	"net/url"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	sd "github.com/aws/aws-sdk-go-v2/service/servicediscovery"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// What goes over the connections, which the runner looks at, too.
var wire = []check{
	{"wire.keep-alive", func() {
		client := clientOf("SD_KEEP_ALIVE")
		for range 10 {
			must(client.ListNamespaces(ctx, &sd.ListNamespacesInput{}))
		}
	}},

	{"wire.ipv6", func() {
		listsAndDiscovers(clientOf("SD_ENDPOINT_IPV6"))
	}},

	{"wire.proxy", func() {
		proxy := must(url.Parse(os.Getenv("SD_PROXY")))
		transport := awshttp.NewBuildableClient().WithTransportOptions(func(transport *http.Transport) {
			transport.Proxy = http.ProxyURL(proxy)
		})
		// Without the page's setting for the host prefix.
		listsAndDiscovers(sd.New(sd.Options{
			BaseEndpoint: aws.String("http://servicediscovery.us-east-1.amazonaws.com"),
			Region:       "us-east-1",
			Credentials:  client.Options().Credentials,
			HTTPClient:   transport,
		}, once))
	}},

	{"wire.expect-continue", func() {
		client := clientOf("SD_EXPECT", sd.WithAPIOptions(smithyhttp.SetHeaderValue("Expect", "100-continue")))
		must(client.ListNamespaces(ctx, &sd.ListNamespacesInput{}))
	}},
}

func listsAndDiscovers(client *sd.Client) {
	must(client.ListNamespaces(ctx, &sd.ListNamespacesInput{}))
	nowhere := &sd.DiscoverInstancesInput{NamespaceName: aws.String("nowhere"), ServiceName: aws.String("web")}
	refused[*types.NamespaceNotFound](client.DiscoverInstances(ctx, nowhere))
}
