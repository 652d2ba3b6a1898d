// The checks with the AWS SDK for Go v2. They share their clients, and do not run at once.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime/debug"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sd "github.com/aws/aws-sdk-go-v2/service/servicediscovery"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery/types"
)

const unicode = "Grüße, 世界 🗺"

var (
	ctx    = context.Background()
	client = clientOf("SD_ENDPOINT")
	timed  = clientOf("SD_ENDPOINT_TIMED")
	names  int
)

type check struct {
	id string
	do func()
}

func main() {
	// Read at the first request, and not for loopback addresses.
	must(0, os.Setenv("HTTP_PROXY", os.Getenv("SD_PROXY")))
	status := 0
	for _, checks := range [][]check{resources, discovery, refusals, pages, wire} {
		for _, check := range checks {
			if complaint := run(check); complaint != nil {
				status = 1
				fmt.Printf("not ok %s: %s\n", check.id, strings.Join(strings.Fields(fmt.Sprint(complaint)), " "))
			} else {
				fmt.Printf("ok %s\n", check.id)
			}
		}
	}
	os.Exit(status)
}

// run does a check, which panics where something is not as it has to be.
func run(check check) (complaint any) {
	defer func() {
		if complaint = recover(); complaint != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n%s", check.id, complaint, debug.Stack())
		}
	}()
	check.do()
	return nil
}

// clientOf is the client of the endpoint that the variable says.
func clientOf(variable string, more ...func(*sd.Options)) *sd.Client {
	more = append([]func(*sd.Options){once}, more...)
	return must(newClient(ctx, os.Getenv(variable), os.Getenv("AWS_ACCESS_KEY_ID"), more...))
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func require(holds bool, got any) {
	if !holds {
		panic(fmt.Sprintf("it is not so: %v", got))
	}
}

func equal[T any](got, expected T) {
	if !reflect.DeepEqual(got, expected) {
		panic(fmt.Sprintf("%#v is not %#v", got, expected))
	}
}

// refused is the error as the SDK's own type E, which the call has to be refused with.
func refused[E interface {
	error
	ErrorMessage() string
}](_ any, err error) E {
	var typed E
	if !errors.As(err, &typed) {
		panic(fmt.Sprintf("%T is expected, not: %v", typed, err))
	}
	require(typed.ErrorMessage() != "", typed)
	return typed
}

// name is one that no other check has.
func name(prefix string) *string {
	names++
	return aws.String(fmt.Sprintf("%s-%d", prefix, names))
}

// polled is the operation once it has ended.
func polled(id *string, client *sd.Client) *types.Operation {
	for deadline := time.Now().Add(30 * time.Second); ; {
		found := must(client.GetOperation(ctx, &sd.GetOperationInput{OperationId: id})).Operation
		if found.Status == types.OperationStatusSuccess || found.Status == types.OperationStatusFail {
			equal(found.Status, types.OperationStatusSuccess)
			return found
		}
		require(time.Now().Before(deadline), found.Status)
		time.Sleep(200 * time.Millisecond) // a poll, bounded by the deadline
	}
}

// done waits for an operation that is at once.
func done(id *string) *types.Operation {
	return polled(id, client)
}

// madeNamespace is the id of the namespace that the operation made.
func madeNamespace(id *string) *string {
	return aws.String(done(id).Targets["NAMESPACE"])
}

func getNamespace(id *string) *types.Namespace {
	return must(client.GetNamespace(ctx, &sd.GetNamespaceInput{Id: id})).Namespace
}

// httpNamespace is the id and the name of a new one.
func httpNamespace(more ...func(*sd.CreateHttpNamespaceInput)) (id, called *string) {
	request := &sd.CreateHttpNamespaceInput{Name: name("http")}
	for _, set := range more {
		set(request)
	}
	return madeNamespace(must(client.CreateHttpNamespace(ctx, request)).OperationId), request.Name
}

// service is a new one.
func service(namespace *string, more ...func(*sd.CreateServiceInput)) *types.Service {
	request := &sd.CreateServiceInput{Name: name("service"), NamespaceId: namespace}
	for _, set := range more {
		set(request)
	}
	return must(client.CreateService(ctx, request)).Service
}

// newService is one in a new namespace.
func newService(more ...func(*sd.CreateServiceInput)) *types.Service {
	namespace, _ := httpNamespace()
	return service(namespace, more...)
}

func customHealth(request *sd.CreateServiceInput) {
	request.HealthCheckCustomConfig = &types.HealthCheckCustomConfig{FailureThreshold: aws.Int32(1)}
}

func register(service *string, instance string, attributes map[string]string) *types.Operation {
	request := &sd.RegisterInstanceInput{ServiceId: service, InstanceId: &instance, Attributes: attributes}
	return done(must(client.RegisterInstance(ctx, request)).OperationId)
}

func report(service *string, instance string, status types.CustomHealthStatus) error {
	request := &sd.UpdateInstanceCustomHealthStatusInput{ServiceId: service, InstanceId: &instance, Status: status}
	_, err := client.UpdateInstanceCustomHealthStatus(ctx, request)
	return err
}

// tags of a resource, by key.
func tags(arn *string) map[string]string {
	found := map[string]string{}
	for _, tag := range must(client.ListTagsForResource(ctx, &sd.ListTagsForResourceInput{ResourceARN: arn})).Tags {
		found[*tag.Key] = *tag.Value
	}
	return found
}

func tag(key, value string) types.Tag {
	return types.Tag{Key: &key, Value: &value}
}
