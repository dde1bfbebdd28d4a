package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/clientv3"
)

// tally is what a writer knows of its counter: how often it was told that it had counted, and how often nobody told it.
type tally struct{ certain, unknown int64 }

// load goes on, as an API server does, while its datastore is killed and started again: each writer counts up a key of
// its own until the given number of them are certain, and a watcher follows all of them. No step that was acknowledged may be
// missing at the end, and the watcher has seen every revision of every key in order, across the restarts.
func load(ctx context.Context, s *storage, writers, steps int) error {
	begin, err := s.revision(ctx)
	if err != nil {
		return err
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	watcher := follow(s.watch(watching, "/registry/load/", begin))
	tallies := make([]tally, writers)
	var total int64
	var group sync.WaitGroup
	for number := range tallies {
		group.Add(1)
		go func(number int) {
			defer group.Done()
			key := fmt.Sprintf("/registry/load/%02d", number)
			for tallies[number].certain < int64(steps) && ctx.Err() == nil {
				count(ctx, s, key, &tallies[number])
				if done := atomic.AddInt64(&total, 1); done%100 == 0 {
					fmt.Printf("progress %d\n", done)
				}
			}
		}(number)
	}
	group.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	return settle(ctx, s, tallies, watcher)
}

// count does one step. An error leaves open whether it was written; the writer then goes on after a breath.
func count(ctx context.Context, s *storage, key string, tally *tally) {
	attempt, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if _, err := s.guaranteedUpdate(attempt, key, plusOne); err != nil {
		tally.unknown++
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
		return
	}
	tally.certain++
}

type followed struct {
	lock   sync.Mutex
	latest map[string]*state
	err    error
}

func follow(events clientv3.WatchChan) *followed {
	watcher := &followed{latest: map[string]*state{}}
	go func() {
		for response := range events {
			watcher.take(response)
		}
	}()
	return watcher
}

func (f *followed) take(response clientv3.WatchResponse) {
	f.lock.Lock()
	defer f.lock.Unlock()
	if response.Err() != nil && f.err == nil {
		f.err = response.Err()
	}
	for _, event := range response.Events {
		key, previous := string(event.Kv.Key), f.latest[string(event.Kv.Key)]
		if previous == nil {
			previous = &state{key: key}
		}
		created := event.PrevKv == nil && previous.revision == 0
		follows := event.PrevKv != nil && event.PrevKv.ModRevision == previous.revision
		if !created && !follows && f.err == nil {
			f.err = fmt.Errorf("a change was lost or repeated: %v after revision %d", event, previous.revision)
		}
		f.latest[key] = &state{key, event.Kv.Value, event.Kv.ModRevision}
	}
}

// settle compares the counters with the tallies, and waits until the watcher has seen the last of each.
func settle(ctx context.Context, s *storage, tallies []tally, watcher *followed) error {
	for number, tally := range tallies {
		found, err := s.get(ctx, fmt.Sprintf("/registry/load/%02d", number))
		if err != nil {
			return err
		}
		var value int64
		if _, err := fmt.Sscan(string(found.value), &value); err != nil {
			return err
		}
		if value < tally.certain || value > tally.certain+tally.unknown {
			return fmt.Errorf("%s is %d after %d certain and %d unknown steps", found.key, value, tally.certain, tally.unknown)
		}
		if err := watcher.reaches(ctx, found); err != nil {
			return err
		}
	}
	return nil
}

func (f *followed) reaches(ctx context.Context, wanted *state) error {
	for ctx.Err() == nil {
		f.lock.Lock()
		seen, err := f.latest[wanted.key], f.err
		f.lock.Unlock()
		if err != nil {
			return err
		}
		if seen != nil && seen.revision == wanted.revision {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("the watcher did not see revision %d of %s", wanted.revision, wanted.key)
}
