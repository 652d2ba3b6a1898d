package main

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	sd "github.com/aws/aws-sdk-go-v2/service/servicediscovery"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Connections, which the runner observes too.
var wire = []check{
	{"wire.keep-alive", func() {
		client := clientOf("SD_KEEP_ALIVE")
		for range 10 {
			must(client.ListNamespaces(ctx, &sd.ListNamespacesInput{}))
		}
	}},

	{"settings.environment", func() {
		prefix := config.WithAPIOptions([]func(*middleware.Stack) error{withoutHostPrefix})
		listsAndDiscovers(sd.NewFromConfig(must(config.LoadDefaultConfig(ctx, prefix)), once))
	}},

	{"wire.ipv6", func() {
		listsAndDiscovers(clientOf("SD_ENDPOINT_IPV6"))
	}},

	{"wire.proxy", func() {
		// main sets HTTP_PROXY. The code sets only AWS's endpoint.
		settings := must(config.LoadDefaultConfig(ctx,
			config.WithBaseEndpoint("http://servicediscovery.us-east-1.amazonaws.com")))
		listsAndDiscovers(sd.NewFromConfig(settings, once))
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
