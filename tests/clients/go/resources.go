package main

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	sd "github.com/aws/aws-sdk-go-v2/service/servicediscovery"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery/types"
)

// Life cycles: creation, change and deletion.
var resources = []check{
	{"namespace.http", func() {
		called := name("http")
		started := must(client.CreateHttpNamespace(ctx, &sd.CreateHttpNamespaceInput{
			Name:             called,
			CreatorRequestId: aws.String("token"),
			Description:      aws.String("d"),
			Tags:             []types.Tag{tag("k", "v")},
		}))
		operation := done(started.OperationId)
		equal(operation.Type, types.OperationTypeCreateNamespace)
		found := getNamespace(aws.String(operation.Targets["NAMESPACE"]))
		equal(*found.Name, *called)
		equal(found.Type, types.NamespaceTypeHttp)
		equal(*found.Description, "d")
		equal(*found.Properties.HttpProperties.HttpName, *called)
		change := &types.HttpNamespaceChange{Description: aws.String("e")}
		changed := must(client.UpdateHttpNamespace(ctx, &sd.UpdateHttpNamespaceInput{Id: found.Id, Namespace: change}))
		done(changed.OperationId)
		equal(*getNamespace(found.Id).Description, "e")
		deleteNamespace(found.Id)
		refused[*types.NamespaceNotFound](client.GetNamespace(ctx, &sd.GetNamespaceInput{Id: found.Id}))
	}},

	{"namespace.private", func() {
		started := must(client.CreatePrivateDnsNamespace(ctx, &sd.CreatePrivateDnsNamespaceInput{
			Name: aws.String(*name("private") + ".local"),
			Vpc:  aws.String("vpc-1"),
			Properties: &types.PrivateDnsNamespaceProperties{
				DnsProperties: &types.PrivateDnsPropertiesMutable{SOA: &types.SOA{TTL: aws.Int64(30)}},
			},
		}))
		id := madeNamespace(started.OperationId)
		found := getNamespace(id).Properties.DnsProperties
		require(aws.ToString(found.HostedZoneId) != "", found)
		equal(*found.SOA.TTL, 30)
		changed := must(client.UpdatePrivateDnsNamespace(ctx, &sd.UpdatePrivateDnsNamespaceInput{
			Id: id,
			Namespace: &types.PrivateDnsNamespaceChange{Properties: &types.PrivateDnsNamespacePropertiesChange{
				DnsProperties: &types.PrivateDnsPropertiesMutableChange{SOA: &types.SOAChange{TTL: aws.Int64(40)}},
			}},
		}))
		done(changed.OperationId)
		equal(*getNamespace(id).Properties.DnsProperties.SOA.TTL, 40)
		deleteNamespace(id)
	}},

	{"namespace.public", func() {
		request := &sd.CreatePublicDnsNamespaceInput{Name: aws.String(*name("public") + ".example")}
		id := madeNamespace(must(client.CreatePublicDnsNamespace(ctx, request)).OperationId)
		equal(getNamespace(id).Type, types.NamespaceTypeDnsPublic)
		deleteNamespace(id)
	}},

	{"operation.poll", func() {
		started := must(timed.CreateHttpNamespace(ctx, &sd.CreateHttpNamespaceInput{Name: name("http")}))
		first := must(timed.GetOperation(ctx, &sd.GetOperationInput{OperationId: started.OperationId})).Operation.Status
		require(first == types.OperationStatusSubmitted || first == types.OperationStatusPending, first)
		polled(started.OperationId, timed)
	}},

	{"service.lifecycle", func() {
		zone := &sd.CreatePrivateDnsNamespaceInput{Name: aws.String(*name("zone") + ".local"), Vpc: aws.String("vpc-1")}
		namespace := madeNamespace(must(client.CreatePrivateDnsNamespace(ctx, zone)).OperationId)
		records := func(ttl int64) []types.DnsRecord {
			return []types.DnsRecord{{Type: types.RecordTypeA, TTL: &ttl}, {Type: types.RecordTypeSrv, TTL: &ttl}}
		}
		created := must(client.CreateService(ctx, &sd.CreateServiceInput{
			Name: aws.String("web"),
			DnsConfig: &types.DnsConfig{
				NamespaceId:   namespace,
				RoutingPolicy: types.RoutingPolicyMultivalue,
				DnsRecords:    records(60),
			},
		})).Service
		got := func() *types.DnsConfig {
			return must(client.GetService(ctx, &sd.GetServiceInput{Id: created.Id})).Service.DnsConfig
		}
		equal(*got().NamespaceId, *namespace)
		equal(got().DnsRecords, records(60))
		change := &types.ServiceChange{DnsConfig: &types.DnsConfigChange{DnsRecords: records(5)}}
		changed := must(client.UpdateService(ctx, &sd.UpdateServiceInput{Id: created.Id, Service: change}))
		done(changed.OperationId)
		equal(got().DnsRecords, records(5))
		listed := must(client.ListServices(ctx, &sd.ListServicesInput{Filters: []types.ServiceFilter{{
			Name:      types.ServiceFilterNameNamespaceId,
			Values:    []string{*namespace},
			Condition: types.FilterConditionEq,
		}}})).Services
		equal(len(listed), 1)
		equal(*listed[0].Id, *created.Id)
		must(client.DeleteService(ctx, &sd.DeleteServiceInput{Id: created.Id}))
		refused[*types.ServiceNotFound](client.GetService(ctx, &sd.GetServiceInput{Id: created.Id}))
	}},

	{"service.attributes", func() {
		created := newService().Id
		got := func() map[string]string {
			request := &sd.GetServiceAttributesInput{ServiceId: created}
			return must(client.GetServiceAttributes(ctx, request)).ServiceAttributes.Attributes
		}
		both := map[string]string{"a": "1", "b": "2"}
		must(client.UpdateServiceAttributes(ctx, &sd.UpdateServiceAttributesInput{ServiceId: created, Attributes: both}))
		equal(got(), both)
		one := &sd.DeleteServiceAttributesInput{ServiceId: created, Attributes: []string{"a"}}
		must(client.DeleteServiceAttributes(ctx, one))
		equal(got(), map[string]string{"b": "2"})
	}},

	{"instance.lifecycle", func() {
		created := newService().Id
		instance := aws.String("i-1")
		request := &sd.GetInstanceInput{ServiceId: created, InstanceId: instance}
		targets := register(created, *instance, map[string]string{"stage": "blue"}).Targets
		equal(targets, map[string]string{"SERVICE": *created, "INSTANCE": *instance})
		equal(must(client.GetInstance(ctx, request)).Instance.Attributes, map[string]string{"stage": "blue"})
		register(created, *instance, map[string]string{"stage": "green"})
		equal(must(client.GetInstance(ctx, request)).Instance.Attributes, map[string]string{"stage": "green"})
		listed := must(client.ListInstances(ctx, &sd.ListInstancesInput{ServiceId: created})).Instances
		equal(len(listed), 1)
		equal(*listed[0].Id, *instance)
		gone := &sd.DeregisterInstanceInput{ServiceId: created, InstanceId: instance}
		done(must(client.DeregisterInstance(ctx, gone)).OperationId)
		refused[*types.InstanceNotFound](client.GetInstance(ctx, request))
	}},

	{"instance.health", func() {
		created := newService(customHealth).Id
		register(created, "i-1", map[string]string{"a": "b"})
		must(0, report(created, "i-1", types.CustomHealthStatusUnhealthy))
		found := must(client.GetInstancesHealthStatus(ctx, &sd.GetInstancesHealthStatusInput{ServiceId: created}))
		equal(found.Status, map[string]types.HealthStatus{"i-1": types.HealthStatusUnhealthy})
	}},

	{"tags", func() {
		id, _ := httpNamespace(func(request *sd.CreateHttpNamespaceInput) { request.Tags = []types.Tag{tag("k", "v")} })
		arn := getNamespace(id).Arn
		must(client.TagResource(ctx, &sd.TagResourceInput{ResourceARN: arn, Tags: []types.Tag{tag("l", "w")}}))
		equal(tags(arn), map[string]string{"k": "v", "l": "w"})
		must(client.UntagResource(ctx, &sd.UntagResourceInput{ResourceARN: arn, TagKeys: []string{"k"}}))
		equal(tags(arn), map[string]string{"l": "w"})
	}},

	{"idempotency", func() {
		token := aws.String("token")
		namespace := &sd.CreateHttpNamespaceInput{Name: name("http"), CreatorRequestId: token}
		first := must(client.CreateHttpNamespace(ctx, namespace)).OperationId
		equal(*must(client.CreateHttpNamespace(ctx, namespace)).OperationId, *first)
		web := &sd.CreateServiceInput{Name: aws.String("web"), NamespaceId: madeNamespace(first), CreatorRequestId: token}
		created := must(client.CreateService(ctx, web)).Service.Id
		equal(*must(client.CreateService(ctx, web)).Service.Id, *created)
		instance := &sd.RegisterInstanceInput{
			ServiceId:        created,
			InstanceId:       aws.String("i"),
			Attributes:       map[string]string{"a": "b"},
			CreatorRequestId: token,
		}
		first = must(client.RegisterInstance(ctx, instance)).OperationId
		equal(*must(client.RegisterInstance(ctx, instance)).OperationId, *first)
	}},

	{"unicode", func() {
		id, _ := httpNamespace(func(request *sd.CreateHttpNamespaceInput) {
			request.Description = aws.String(unicode)
			request.Tags = []types.Tag{tag("k", "Grüße")}
		})
		found := getNamespace(id)
		equal(*found.Description, unicode)
		equal(tags(found.Arn), map[string]string{"k": "Grüße"})
		refused[*types.InvalidInput](client.RegisterInstance(ctx, &sd.RegisterInstanceInput{
			ServiceId:  service(id).Id,
			InstanceId: aws.String("i-1"),
			Attributes: map[string]string{"text": unicode},
		}))
	}},
}

func deleteNamespace(id *string) {
	done(must(client.DeleteNamespace(ctx, &sd.DeleteNamespaceInput{Id: id})).OperationId)
}
