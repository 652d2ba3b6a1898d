package main

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// newClient and withoutHostPrefix are snippets of sd-http/docs/clients.md.
func newClient(
	ctx context.Context, endpoint, account string, more ...func(*servicediscovery.Options),
) (*servicediscovery.Client, error) {
	settings, err := config.LoadDefaultConfig(ctx,
		config.WithBaseEndpoint(endpoint),
		config.WithRegion("us-east-1"),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(account, "none", "")),
		config.WithAPIOptions([]func(*middleware.Stack) error{withoutHostPrefix}),
	)
	if err != nil {
		return nil, err
	}
	return servicediscovery.NewFromConfig(settings, more...), nil
}

func withoutHostPrefix(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("WithoutHostPrefix", func(
		ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler,
	) (middleware.InitializeOutput, middleware.Metadata, error) {
		return next.HandleInitialize(smithyhttp.DisableEndpointHostPrefix(ctx, true), in)
	}), middleware.Before)
}

// once limits each call to one attempt, so that a check sees each answer.
func once(options *servicediscovery.Options) {
	options.Retryer = aws.NopRetryer{}
}
