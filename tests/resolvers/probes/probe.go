// The probe of Go's package net, which uses its own resolver with CGO_ENABLED=0. run.py describes probes.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
)

var networks = map[string]string{"A": "ip4", "AAAA": "ip6", "ADDRESSES": "ip"}

type failure struct {
	Error string `json:"error"`
	Text  string `json:"text"`
}

func answer(kind, name string) any {
	if kind == "SRV" {
		_, found, err := net.LookupSRV("", "", name)
		if err != nil {
			return classified(err)
		}
		services := [][]any{}
		for _, srv := range found {
			services = append(services, []any{srv.Priority, srv.Weight, srv.Port, srv.Target})
		}
		return services
	}
	found, err := net.DefaultResolver.LookupIP(context.Background(), networks[kind], name)
	if err != nil {
		return classified(err)
	}
	return found
}

func classified(err error) failure {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return failure{"no-such-name", err.Error()}
	case errors.As(err, &dns) && (dns.IsTimeout || dns.IsTemporary):
		return failure{"try-again", err.Error()}
	}
	return failure{"failure", err.Error()}
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	answers := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var kind, name string
		if _, err := fmt.Sscan(lines.Text(), &kind, &name); err != nil {
			panic(err)
		}
		if err := answers.Encode(answer(kind, name)); err != nil {
			panic(err)
		}
	}
}
