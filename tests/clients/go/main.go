// The checks with the AWS SDK for Go v2. They share their clients, and run one after the other.
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
	// Go reads it at the first request, and ignores it for loopback addresses.
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

// run runs a check. A check panics if something is wrong.
func run(check check) (complaint any) {
	defer func() {
		if complaint = recover(); complaint != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n%s", check.id, complaint, debug.Stack())
		}
	}()
	check.do()
	return nil
}

// clientOf returns a client for the endpoint in the variable.
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
		panic(fmt.Sprintf("unexpected: %v", got))
	}
}

func equal[T any](got, expected T) {
	if !reflect.DeepEqual(got, expected) {
		panic(fmt.Sprintf("expected %#v, got %#v", expected, got))
	}
}

// refused returns the error of a refused call, which must be of the SDK's type E.
func refused[E interface {
	error
	ErrorMessage() string
}](_ any, err error) E {
	var typed E
	if !errors.As(err, &typed) {
		panic(fmt.Sprintf("expected %T, got: %v", typed, err))
	}
	require(typed.ErrorMessage() != "", typed)
	return typed
}

// name returns a name that no other check uses.
func name(prefix string) *string {
	names++
	return aws.String(fmt.Sprintf("%s-%d", prefix, names))
}

// polled waits for an operation to end, and returns it.
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

// done returns an operation that ends at once.
func done(id *string) *types.Operation {
	return polled(id, client)
}

// madeNamespace returns the id of the namespace that an operation created.
func madeNamespace(id *string) *string {
	return aws.String(done(id).Targets["NAMESPACE"])
}

func getNamespace(id *string) *types.Namespace {
	return must(client.GetNamespace(ctx, &sd.GetNamespaceInput{Id: id})).Namespace
}

// httpNamespace creates an HTTP namespace, and returns its id and name.
func httpNamespace(more ...func(*sd.CreateHttpNamespaceInput)) (id, called *string) {
	request := &sd.CreateHttpNamespaceInput{Name: name("http")}
	for _, set := range more {
		set(request)
	}
	return madeNamespace(must(client.CreateHttpNamespace(ctx, request)).OperationId), request.Name
}

// service creates a service.
func service(namespace *string, more ...func(*sd.CreateServiceInput)) *types.Service {
	request := &sd.CreateServiceInput{Name: name("service"), NamespaceId: namespace}
	for _, set := range more {
		set(request)
	}
	return must(client.CreateService(ctx, request)).Service
}

// newService creates a service in a new namespace.
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

// tags returns the tags of a resource by key.
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
