// Command kube_storage uses a datastore as kube-apiserver's storage layer does, through etcd's own Go client.
//
//	kube_storage -endpoint HOST:PORT [-ca F -cert F -key F] checks          every check, one line each
//	kube_storage -endpoint HOST:PORT load WRITERS STEPS                     load that outlives restarts of the store
//
// It ends with 1 and one line to standard error at the first thing that etcd would not do.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strconv"
	"time"
)

func main() {
	endpoint := flag.String("endpoint", "", "HOST:PORT of the store")
	ca := flag.String("ca", "", "its certificate authority; plain text without")
	certificate := flag.String("cert", "", "the client's certificate")
	key := flag.String("key", "", "the client's key")
	limit := flag.Duration("limit", 4*time.Minute, "how long it may take in all")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), *limit)
	defer cancel()
	store, err := connect(*endpoint, *ca, *certificate, *key)
	if err == nil {
		err = run(ctx, store, flag.Args())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s *storage, arguments []string) error {
	if len(arguments) == 3 && arguments[0] == "load" {
		writers, err := strconv.Atoi(arguments[1])
		if err != nil {
			return err
		}
		steps, err := strconv.Atoi(arguments[2])
		if err != nil {
			return err
		}
		return load(ctx, s, writers, steps)
	}
	for _, check := range checks {
		if err := check.run(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", check.name, err)
		}
		fmt.Println("ok", check.name)
	}
	return nil
}
