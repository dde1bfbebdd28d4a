package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/pkg/transport"
)

// errConflict is what a guarded write returns when its key has changed meanwhile.
var errConflict = errors.New("the key has changed")

// storage sends what kube-apiserver's storage layer (k8s.io/apiserver, storage/etcd3) sends, through etcd's own
// Go client: guarded transactions with a get in the else branch, ranges of a prefix at a revision, watches with
// previous values on streams that require a leader.
type storage struct{ client *clientv3.Client }

type state struct {
	key      string
	value    []byte
	revision int64
}

// connect dials as kube-apiserver does: it blocks until the connection stands, with keep-alive every 30 s.
func connect(endpoint, ca, certificate, key string) (*storage, error) {
	config := clientv3.Config{
		Endpoints:            []string{endpoint},
		DialTimeout:          20 * time.Second,
		DialKeepAliveTime:    30 * time.Second,
		DialKeepAliveTimeout: 10 * time.Second,
	}
	if ca != "" {
		trusted, err := clientTLS(ca, certificate, key)
		if err != nil {
			return nil, err
		}
		config.TLS = trusted
	}
	client, err := clientv3.New(config)
	return &storage{client}, err
}

func clientTLS(ca, certificate, key string) (*tls.Config, error) {
	return transport.TLSInfo{TrustedCAFile: ca, CertFile: certificate, KeyFile: key}.ClientConfig()
}

func single(key string, response *clientv3.GetResponse) *state {
	if len(response.Kvs) == 0 {
		return &state{key: key}
	}
	kv := response.Kvs[0]
	return &state{key, kv.Value, kv.ModRevision}
}

func (s *storage) get(ctx context.Context, key string) (*state, error) {
	response, err := s.client.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	return single(key, response), nil
}

// revision is that of the whole store, learnt as kube-apiserver does it for a consistent list from its cache.
func (s *storage) revision(ctx context.Context) (int64, error) {
	response, err := s.client.Get(ctx, "/registry/", clientv3.WithPrefix(), clientv3.WithLimit(1), clientv3.WithKeysOnly())
	if err != nil {
		return 0, err
	}
	return response.Header.Revision, nil
}

// put writes when the key still has the revision; 0 means that it must not exist. With errConflict comes what is there.
func (s *storage) put(ctx context.Context, key string, value []byte, revision int64, options ...clientv3.OpOption) (*state, error) {
	return s.guarded(ctx, key, value, revision, clientv3.OpPut(key, string(value), options...))
}

func (s *storage) remove(ctx context.Context, key string, revision int64) (*state, error) {
	return s.guarded(ctx, key, nil, revision, clientv3.OpDelete(key))
}

func (s *storage) guarded(ctx context.Context, key string, value []byte, revision int64, write clientv3.Op) (*state, error) {
	response, err := s.client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).
		Then(write).
		Else(clientv3.OpGet(key)).
		Commit()
	if err != nil {
		return nil, err
	}
	if !response.Succeeded {
		return single(key, (*clientv3.GetResponse)(response.Responses[0].GetResponseRange())), errConflict
	}
	return &state{key, value, response.Header.Revision}, nil
}

// guaranteedUpdate tries until its guard holds, going on from what the else branch returned (store.GuaranteedUpdate).
func (s *storage) guaranteedUpdate(ctx context.Context, key string, change func([]byte) []byte) (*state, error) {
	found, err := s.get(ctx, key)
	if err != nil {
		return nil, err
	}
	for {
		written, err := s.put(ctx, key, change(found.value), found.revision)
		if err != errConflict {
			return written, err
		}
		found = written
	}
}

// list reads a prefix page by page at the revision of its first page (store.GetList), and counts what is left.
func (s *storage) list(ctx context.Context, prefix string, page, revision int64) (found []*state, at int64, err error) {
	key, end := prefix, clientv3.GetPrefixRangeEnd(prefix)
	for {
		options := []clientv3.OpOption{clientv3.WithRange(end), clientv3.WithLimit(page)}
		if revision != 0 {
			options = append(options, clientv3.WithRev(revision))
		}
		response, err := s.client.Get(ctx, key, options...)
		if err != nil {
			return nil, 0, err
		}
		if revision == 0 {
			revision = response.Header.Revision
		}
		for _, kv := range response.Kvs {
			found = append(found, &state{string(kv.Key), kv.Value, kv.ModRevision})
		}
		if !response.More {
			return found, revision, nil
		}
		if int64(len(response.Kvs)) != page {
			return nil, 0, fmt.Errorf("a page of %d holds %d keys and says that there are more", page, len(response.Kvs))
		}
		key = string(response.Kvs[len(response.Kvs)-1].Key) + "\x00"
	}
}

func (s *storage) count(ctx context.Context, prefix string) (int64, error) {
	response, err := s.client.Get(ctx, prefix, clientv3.WithRange(clientv3.GetPrefixRangeEnd(prefix)), clientv3.WithCountOnly())
	if err != nil {
		return 0, err
	}
	return response.Count, nil
}

// watch follows a prefix from the change after the revision, as the watch cache's reflector does.
func (s *storage) watch(ctx context.Context, prefix string, revision int64) clientv3.WatchChan {
	return s.client.Watch(
		clientv3.WithRequireLeader(ctx), prefix,
		clientv3.WithPrefix(), clientv3.WithRev(revision+1), clientv3.WithPrevKV(),
		clientv3.WithProgressNotify(), clientv3.WithFragment(),
	)
}

// compact is one round of the compactor (storage/etcd3/compact.go): the server that moves the key compacts.
// It returns the version of the key and the revision it held before, for the next round.
func (s *storage) compact(ctx context.Context, version, revision int64) (int64, int64, error) {
	const key = "compact_rev_key"
	response, err := s.client.Txn(ctx).
		If(clientv3.Compare(clientv3.Version(key), "=", version)).
		Then(clientv3.OpPut(key, fmt.Sprint(revision))).
		Else(clientv3.OpGet(key)).
		Commit()
	if err != nil {
		return version, revision, err
	}
	current := response.Header.Revision
	if !response.Succeeded {
		return response.Responses[0].GetResponseRange().Kvs[0].Version, current, nil
	}
	if revision == 0 { // the first round only learns the revision
		return version + 1, current, nil
	}
	_, err = s.client.Compact(ctx, revision)
	return version + 1, current, err
}
