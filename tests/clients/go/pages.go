package main

import (
	"context"
	"fmt"
	"sort"

	"github.com/aws/aws-sdk-go-v2/aws"
	sd "github.com/aws/aws-sdk-go-v2/service/servicediscovery"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery/types"
)

var five = []string{"i-0", "i-1", "i-2", "i-3", "i-4"}

// The SDK's paginators with pages of 2.
var pages = []check{
	{"pages.namespaces", func() {
		prefix := name("paged")
		var expected []string
		for number := range five {
			request := &sd.CreateHttpNamespaceInput{Name: aws.String(fmt.Sprintf("%s-%d", *prefix, number))}
			expected = append(expected, *madeNamespace(must(client.CreateHttpNamespace(ctx, request)).OperationId))
		}
		paginator := sd.NewListNamespacesPaginator(client, &sd.ListNamespacesInput{
			MaxResults: aws.Int32(2),
			Filters: []types.NamespaceFilter{{
				Name:      types.NamespaceFilterNameName,
				Values:    []string{*prefix},
				Condition: types.FilterConditionBeginsWith,
			}},
		})
		equal(all(paginator, func(page *sd.ListNamespacesOutput) (ids []string) {
			for _, namespace := range page.Namespaces {
				ids = append(ids, *namespace.Id)
			}
			return ids
		}), expected)
	}},

	{"pages.services", func() {
		namespace, _ := httpNamespace()
		var expected []string
		for range five {
			expected = append(expected, *service(namespace).Id)
		}
		paginator := sd.NewListServicesPaginator(client, &sd.ListServicesInput{
			MaxResults: aws.Int32(2),
			Filters:    []types.ServiceFilter{{Name: types.ServiceFilterNameNamespaceId, Values: []string{*namespace}}},
		})
		equal(all(paginator, func(page *sd.ListServicesOutput) (ids []string) {
			for _, service := range page.Services {
				ids = append(ids, *service.Id)
			}
			return ids
		}), expected)
	}},

	{"pages.instances", func() {
		request := &sd.ListInstancesInput{ServiceId: fiveInstances(), MaxResults: aws.Int32(2)}
		paginator := sd.NewListInstancesPaginator(client, request)
		equal(all(paginator, func(page *sd.ListInstancesOutput) (ids []string) {
			for _, instance := range page.Instances {
				ids = append(ids, *instance.Id)
			}
			return ids
		}), five)
	}},

	{"pages.health", func() {
		request := &sd.GetInstancesHealthStatusInput{ServiceId: fiveInstances(), MaxResults: aws.Int32(2)}
		paginator := sd.NewGetInstancesHealthStatusPaginator(client, request)
		found := all(paginator, func(page *sd.GetInstancesHealthStatusOutput) (ids []string) {
			for id := range page.Status {
				ids = append(ids, id)
			}
			return ids
		})
		sort.Strings(found)
		equal(found, five)
	}},

	{"pages.operations", func() {
		service := fiveInstances()
		paginator := sd.NewListOperationsPaginator(client, &sd.ListOperationsInput{
			MaxResults: aws.Int32(2),
			Filters: []types.OperationFilter{
				{
					Name:      types.OperationFilterNameType,
					Values:    []string{string(types.OperationTypeRegisterInstance)},
					Condition: types.FilterConditionEq,
				},
				{
					Name:      types.OperationFilterNameServiceId,
					Values:    []string{*service},
					Condition: types.FilterConditionEq,
				},
			},
		})
		found := map[string]bool{}
		for _, id := range all(paginator, func(page *sd.ListOperationsOutput) (ids []string) {
			for _, operation := range page.Operations {
				ids = append(ids, *operation.Id)
			}
			return ids
		}) {
			found[id] = true
		}
		equal(len(found), 5)
	}},
}

// fiveInstances returns the id of a service with five instances.
func fiveInstances() *string {
	created := newService().Id
	for _, instance := range five {
		register(created, instance, map[string]string{"a": "b"})
	}
	return created
}

// paginator is the common interface of the SDK's paginators.
type paginator[Page any] interface {
	HasMorePages() bool
	NextPage(context.Context, ...func(*sd.Options)) (*Page, error)
}

// all returns the ids of all pages, each of which may have at most 2.
func all[Page any](paginator paginator[Page], ids func(*Page) []string) (found []string) {
	for paginator.HasMorePages() {
		page := ids(must(paginator.NextPage(ctx)))
		require(len(page) <= 2, page)
		found = append(found, page...)
	}
	return found
}
