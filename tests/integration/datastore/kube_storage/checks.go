package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/etcdserver/api/v3rpc/rpctypes"
)

type check struct {
	name string
	run  func(context.Context, *storage) error
}

var checks = []check{
	{"features", features},
	{"guards", guards},
	{"contention", contention},
	{"lists", lists},
	{"compaction", compaction},
	{"progress", progress},
	{"fragments", fragments},
	{"leases", leases},
}

func expect(holds bool, format string, arguments ...interface{}) error {
	if holds {
		return nil
	}
	return fmt.Errorf(format, arguments...)
}

// features: kube-apiserver uses progress requests only with servers that know them by their version
// (storage/feature/feature_support_checker.go), and shows the size of the database.
func features(ctx context.Context, s *storage) error {
	status, err := s.client.Status(ctx, s.client.Endpoints()[0])
	if err != nil {
		return err
	}
	if _, err := s.client.Get(ctx, "/registry/health"); err != nil {
		return err
	}
	var major, minor, patch int
	if _, err := fmt.Sscanf(status.Version, "%d.%d.%d", &major, &minor, &patch); err != nil {
		return fmt.Errorf("version %q: %w", status.Version, err)
	}
	return expect(status.DbSize > 0 && major == 3, "status %v", status)
}

func guards(ctx context.Context, s *storage) error {
	created, err := s.put(ctx, "/registry/guards/a", []byte("1"), 0)
	if err != nil {
		return err
	}
	found, err := s.put(ctx, created.key, []byte("2"), 0)
	if err != errConflict || found.revision != created.revision || string(found.value) != "1" {
		return fmt.Errorf("a second creation: %v %v", found, err)
	}
	if found, err = s.remove(ctx, created.key, created.revision-1); err != errConflict || found.revision != created.revision {
		return fmt.Errorf("a deletion with an old revision: %v %v", found, err)
	}
	if _, err = s.remove(ctx, created.key, created.revision); err != nil {
		return err
	}
	found, err = s.get(ctx, created.key)
	if err != nil {
		return err
	}
	return expect(found.revision == 0, "deleted, and there: %v", found)
}

// contention: eight writers count up one key; its watcher sees every step once, each with the one before it.
func contention(ctx context.Context, s *storage) error {
	const writers, each, key = 8, 50, "/registry/contention/counter"
	first, err := s.put(ctx, key, []byte("0"), 0)
	if err != nil {
		return err
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	events := s.watch(watching, key, first.revision)
	failures := make(chan error, writers)
	var group sync.WaitGroup
	for writer := 0; writer < writers; writer++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for step := 0; step < each; step++ {
				if _, err := s.guaranteedUpdate(ctx, key, plusOne); err != nil {
					failures <- err
					return
				}
			}
		}()
	}
	group.Wait()
	close(failures)
	if err := <-failures; err != nil {
		return err
	}
	return chain(events, first, writers*each)
}

func plusOne(value []byte) []byte {
	number, _ := strconv.Atoi(string(value))
	return []byte(strconv.Itoa(number + 1))
}

// chain follows one key's events: each has the one before it as its previous value.
func chain(events clientv3.WatchChan, last *state, steps int) error {
	for seen := 0; seen < steps; {
		response, open := <-events
		if !open || response.Err() != nil {
			return fmt.Errorf("the watch ended after %d events: %v", seen, response.Err())
		}
		for _, event := range response.Events {
			seen++
			if event.PrevKv == nil || event.PrevKv.ModRevision != last.revision || string(event.Kv.Value) != string(plusOne(last.value)) {
				return fmt.Errorf("event %d: %v after %v", seen, event, last)
			}
			last = &state{last.key, event.Kv.Value, event.Kv.ModRevision}
		}
	}
	return nil
}

// lists: pages are of one revision although the keys change between them.
func lists(ctx context.Context, s *storage) error {
	const prefix, keys = "/registry/lists/", 1050
	for number := 0; number < keys; number++ {
		if _, err := s.put(ctx, fmt.Sprintf("%s%04d", prefix, number), []byte("old"), 0); err != nil {
			return err
		}
	}
	_, at, err := s.list(ctx, prefix, 500, 0)
	if err != nil {
		return err
	}
	if _, err := s.guaranteedUpdate(ctx, prefix+"0007", func([]byte) []byte { return []byte("new") }); err != nil {
		return err
	}
	last, err := s.get(ctx, prefix+"1049")
	if err != nil {
		return err
	}
	if _, err := s.remove(ctx, last.key, last.revision); err != nil {
		return err
	}
	before, _, err := s.list(ctx, prefix, 500, at)
	if err != nil {
		return err
	}
	if len(before) != keys || string(before[7].value) != "old" || before[keys-1].key != last.key {
		return fmt.Errorf("%d keys at revision %d, the eighth is %v", len(before), at, before[7])
	}
	count, err := s.count(ctx, prefix)
	if err != nil {
		return err
	}
	names, err := s.client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return err
	}
	return expect(
		count == keys-1 && len(names.Kvs) == keys-1 && len(names.Kvs[0].Value) == 0, "%d counted, %d named", count, len(names.Kvs),
	)
}

// compaction: two servers take turns by one key, and what was compacted is refused in etcd's words.
func compaction(ctx context.Context, s *storage) error {
	old, err := s.put(ctx, "/registry/compaction/a", []byte("1"), 0)
	if err != nil {
		return err
	}
	if _, err := s.put(ctx, old.key, []byte("2"), old.revision); err != nil {
		return err
	}
	version, revision, err := s.compact(ctx, 0, 0)
	if err != nil {
		return err
	}
	if late, _, err := s.compact(ctx, 0, 0); err != nil || late != version {
		return fmt.Errorf("the server that came second: %d %v", late, err)
	}
	if _, _, err := s.compact(ctx, version, revision); err != nil {
		return err
	}
	if _, _, err := s.list(ctx, "/registry/compaction/", 10, old.revision); err != rpctypes.ErrCompacted {
		return fmt.Errorf("a compacted list: %v", err)
	}
	if _, _, err := s.list(ctx, "/registry/compaction/", 10, revision+1000); err != rpctypes.ErrFutureRev {
		return fmt.Errorf("a list of the future: %v", err)
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	response := <-s.watch(watching, "/registry/compaction/", old.revision-1)
	return expect(
		response.Err() == rpctypes.ErrCompacted && response.CompactRevision == revision, "a compacted watch: %v", response,
	)
}

// progress: a list from the watch cache waits until the watch has told of the newest revision.
func progress(ctx context.Context, s *storage) error {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	now, err := s.revision(ctx)
	if err != nil {
		return err
	}
	events := s.watch(watching, "/registry/progress/", now)
	elsewhere, err := s.put(ctx, "/registry/elsewhere/"+fmt.Sprint(time.Now().UnixNano()), nil, 0)
	if err != nil {
		return err
	}
	asking := time.NewTicker(100 * time.Millisecond)
	defer asking.Stop()
	for {
		select {
		case <-asking.C:
			if err := s.client.RequestProgress(clientv3.WithRequireLeader(watching)); err != nil {
				return err
			}
		case response := <-events:
			if response.IsProgressNotify() && response.Header.Revision >= elsewhere.revision {
				return nil
			}
			if len(response.Events) != 0 || response.Err() != nil {
				return fmt.Errorf("instead of progress: %v", response)
			}
		}
	}
}

// fragments: one transaction's events, 4 MB in all, arrive whole.
func fragments(ctx context.Context, s *storage) error {
	const prefix, keys = "/registry/fragments/", 20
	value := strings.Repeat("x", 200_000)
	var last *state
	for number := 0; number < keys; number++ {
		var err error
		if last, err = s.put(ctx, fmt.Sprintf("%s%02d", prefix, number), []byte(value), 0); err != nil {
			return err
		}
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	events := s.watch(watching, prefix, last.revision)
	if _, err := s.client.Delete(ctx, prefix, clientv3.WithPrefix()); err != nil {
		return err
	}
	seen := 0
	for seen < keys {
		response := <-events
		if response.Err() != nil {
			return response.Err()
		}
		for _, event := range response.Events {
			if event.PrevKv == nil || len(event.PrevKv.Value) != len(value) {
				return fmt.Errorf("event %d has no previous value", seen)
			}
			seen++
		}
	}
	return expect(seen == keys, "%d events", seen)
}

// leases: Events are written with leases that many of them share (storage/etcd3/lease_manager.go).
func leases(ctx context.Context, s *storage) error {
	lease, err := s.client.Grant(ctx, 2)
	if err != nil {
		return err
	}
	var last *state
	for _, name := range []string{"a", "b"} {
		if last, err = s.put(ctx, "/registry/events/"+name, []byte("event"), 0, clientv3.WithLease(lease.ID)); err != nil {
			return err
		}
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	events := s.watch(watching, "/registry/events/", last.revision)
	for gone := 0; gone < 2; {
		response := <-events
		if response.Err() != nil {
			return response.Err()
		}
		for _, event := range response.Events {
			if event.Type != clientv3.EventTypeDelete || event.PrevKv == nil {
				return fmt.Errorf("instead of a deletion: %v", event)
			}
			gone++
		}
	}
	return nil
}
