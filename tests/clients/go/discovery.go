package main

import (
	"sort"

	"github.com/aws/aws-sdk-go-v2/aws"
	sd "github.com/aws/aws-sdk-go-v2/service/servicediscovery"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery/types"
)

var discovery = []check{
	{"discover.instances", func() {
		namespace, called := httpNamespace()
		found := service(namespace)
		attributes := map[string]string{"AWS_INSTANCE_IPV4": "10.0.0.1"}
		register(found.Id, "i-1", attributes)
		web := &sd.DiscoverInstancesInput{NamespaceName: called, ServiceName: found.Name}
		answer := must(client.DiscoverInstances(ctx, web))
		equal(answer.Instances, []types.HttpInstanceSummary{{
			InstanceId:    aws.String("i-1"),
			NamespaceName: called,
			ServiceName:   found.Name,
			Attributes:    attributes,
			HealthStatus:  types.HealthStatusUnknown,
		}})
		request := &sd.DiscoverInstancesRevisionInput{NamespaceName: called, ServiceName: found.Name}
		equal(*answer.InstancesRevision, *must(client.DiscoverInstancesRevision(ctx, request)).InstancesRevision)
	}},

	{"discover.parameters", func() {
		namespace, called := httpNamespace()
		created := service(namespace)
		register(created.Id, "a", map[string]string{"stage": "blue", "zone": "1"})
		register(created.Id, "b", map[string]string{"stage": "blue", "zone": "2"})
		register(created.Id, "c", map[string]string{"stage": "green", "zone": "2"})
		for _, one := range []struct {
			query, optional map[string]string
			expected        []string
		}{
			{map[string]string{"stage": "blue"}, nil, []string{"a", "b"}},
			{map[string]string{"stage": "blue"}, map[string]string{"zone": "2"}, []string{"b"}},
			{nil, map[string]string{"zone": "3"}, []string{"a", "b", "c"}},
		} {
			equal(discovered(&sd.DiscoverInstancesInput{
				NamespaceName:      called,
				ServiceName:        created.Name,
				QueryParameters:    one.query,
				OptionalParameters: one.optional,
			}), one.expected)
		}
	}},

	{"discover.health", func() {
		namespace, called := httpNamespace()
		created := service(namespace, customHealth)
		register(created.Id, "ill", map[string]string{"a": "b"})
		register(created.Id, "well", map[string]string{"a": "b"})
		must(0, report(created.Id, "ill", types.CustomHealthStatusUnhealthy))
		for status, expected := range map[types.HealthStatusFilter][]string{
			types.HealthStatusFilterHealthy:          {"well"},
			types.HealthStatusFilterUnhealthy:        {"ill"},
			types.HealthStatusFilterAll:              {"ill", "well"},
			types.HealthStatusFilterHealthyOrElseAll: {"well"},
		} {
			request := &sd.DiscoverInstancesInput{NamespaceName: called, ServiceName: created.Name, HealthStatus: status}
			equal(discovered(request), expected)
		}
	}},
}

// discovered returns the sorted ids of the instances.
func discovered(request *sd.DiscoverInstancesInput) (ids []string) {
	for _, instance := range must(client.DiscoverInstances(ctx, request)).Instances {
		ids = append(ids, *instance.InstanceId)
	}
	sort.Strings(ids)
	return ids
}
