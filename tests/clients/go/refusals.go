package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	sd "github.com/aws/aws-sdk-go-v2/service/servicediscovery"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery/types"
)

// Errors, and their types in the SDK.
var refusals = []check{
	{"error.namespace-exists", func() {
		id, called := httpNamespace(func(request *sd.CreateHttpNamespaceInput) {
			request.CreatorRequestId = aws.String("first")
		})
		request := &sd.CreateHttpNamespaceInput{Name: called}
		err := refused[*types.NamespaceAlreadyExists](client.CreateHttpNamespace(ctx, request))
		equal(aws.ToString(err.NamespaceId), *id)
		equal(aws.ToString(err.CreatorRequestId), "first")
	}},

	{"error.service-exists", func() {
		created := newService(func(request *sd.CreateServiceInput) { request.CreatorRequestId = aws.String("first") })
		request := &sd.CreateServiceInput{Name: created.Name, NamespaceId: created.NamespaceId}
		err := refused[*types.ServiceAlreadyExists](client.CreateService(ctx, request))
		equal(aws.ToString(err.ServiceId), *created.Id)
		equal(aws.ToString(err.CreatorRequestId), "first")
	}},

	{"error.duplicate-request", func() {
		called := name("http")
		started := must(timed.CreateHttpNamespace(ctx, &sd.CreateHttpNamespaceInput{Name: called}))
		again := &sd.CreateHttpNamespaceInput{Name: called}
		err := refused[*types.DuplicateRequest](timed.CreateHttpNamespace(ctx, again))
		equal(aws.ToString(err.DuplicateOperationId), *started.OperationId)
	}},

	{"error.in-use", func() {
		namespace, _ := httpNamespace()
		service(namespace)
		refused[*types.ResourceInUse](client.DeleteNamespace(ctx, &sd.DeleteNamespaceInput{Id: namespace}))
	}},

	{"error.not-found", func() {
		created := newService().Id
		register(created, "i-1", map[string]string{"a": "b"})
		none := aws.String("none")
		arn := aws.String("arn:aws:servicediscovery:us-east-1:123456789012:service/srv-none")
		refused[*types.NamespaceNotFound](client.GetNamespace(ctx, &sd.GetNamespaceInput{Id: aws.String("ns-none")}))
		refused[*types.ServiceNotFound](client.GetService(ctx, &sd.GetServiceInput{Id: aws.String("srv-none")}))
		refused[*types.InstanceNotFound](client.GetInstance(ctx, &sd.GetInstanceInput{ServiceId: created, InstanceId: none}))
		refused[*types.OperationNotFound](client.GetOperation(ctx, &sd.GetOperationInput{OperationId: none}))
		tagged := &sd.ListTagsForResourceInput{ResourceARN: arn}
		refused[*types.ResourceNotFoundException](client.ListTagsForResource(ctx, tagged))
		refused[*types.CustomHealthNotFound](nil, report(created, "i-1", types.CustomHealthStatusHealthy))
	}},

	{"error.invalid-input", func() {
		request := &sd.CreateHttpNamespaceInput{Name: aws.String("with a space")}
		err := refused[*types.InvalidInput](client.CreateHttpNamespace(ctx, request))
		require(strings.Contains(err.ErrorMessage(), "name"), err)
	}},

	{"error.too-many-tags", func() {
		namespace, _ := httpNamespace()
		arn := getNamespace(namespace).Arn
		var many []types.Tag
		for number := range 51 {
			many = append(many, tag(fmt.Sprintf("k%d", number), "v"))
		}
		must(client.TagResource(ctx, &sd.TagResourceInput{ResourceARN: arn, Tags: many[:50]}))
		rest := &sd.TagResourceInput{ResourceARN: arn, Tags: many[50:]}
		err := refused[*types.TooManyTagsException](client.TagResource(ctx, rest))
		equal(aws.ToString(err.ResourceName), *arn)
	}},

	{"error.limit", func() {
		quotas := clientOf("SD_ENDPOINT_QUOTAS")
		for range 50 {
			must(quotas.CreateHttpNamespace(ctx, &sd.CreateHttpNamespaceInput{Name: name("http")}))
		}
		last := &sd.CreateHttpNamespaceInput{Name: name("http")}
		refused[*types.ResourceLimitExceeded](quotas.CreateHttpNamespace(ctx, last))
	}},

	{"limits.max-results", func() {
		namespace, called := httpNamespace()
		refused[*types.InvalidInput](client.DiscoverInstances(ctx, &sd.DiscoverInstancesInput{
			NamespaceName: called,
			ServiceName:   service(namespace).Name,
			MaxResults:    aws.Int32(1001),
		}))
	}},

	{"limits.attribute", func() {
		refused[*types.InvalidInput](client.RegisterInstance(ctx, &sd.RegisterInstanceInput{
			ServiceId:  newService().Id,
			InstanceId: aws.String("i-1"),
			Attributes: map[string]string{"a": strings.Repeat("x", 1025)},
		}))
	}},

	{"limits.body", func() {
		request := &sd.CreateHttpNamespaceInput{Name: name("http"), Description: aws.String(strings.Repeat("d", 3<<19))}
		_, err := client.CreateHttpNamespace(ctx, request)
		var answer *awshttp.ResponseError
		require(errors.As(err, &answer), err)
		equal(answer.HTTPStatusCode(), http.StatusRequestEntityTooLarge)
	}},
}
