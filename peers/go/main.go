// Go's own figures for the table that ./bench prints.
//
// The program reads lines "CASE ITERATIONS", runs the case, and answers
// "UNITS NANOSECONDS": what it saw happen and how long that took. It ends with its input.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// poolTasks and poolWorkers are those of the other contenders: tasks in one iteration, and
// how many of them may be in flight.
const (
	poolTasks   = 1024
	poolWorkers = 64
)

// waitGroupTasks is how many goroutines are waited for together.
const waitGroupTasks = 64

// A benchCase runs iterations and returns how many units of work it saw happen. The others
// run on a fixed number of threads, so its processors are fixed as well.
type benchCase struct {
	processors int
	run        func(iterations uint64) uint64
}

var cases = map[string]benchCase{
	"defer":      {1, blockGuard},
	"defer_1":    {1, scopeOf(1)},
	"defer_4":    {1, scopeOf(4)},
	"defer_16":   {1, scopeOf(16)},
	"recover":    {1, recoverWithoutPanic},
	"panic":      {1, containedPanic},
	"spawn_1":    {1, spawnAndJoin},
	"spawn_2":    {2, spawnAndJoin},
	"pool":       {2, pool},
	"once":       {1, onceHot},
	"wait_group": {1, waitGroup},
}

// count is what all cleanups raise. On the heap and in a package variable, so that the
// compiler cannot know who else looks at it.
var count = new(uint64)

func main() {
	processors := 0
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		name, argument, _ := strings.Cut(lines.Text(), " ")
		if name == "version" {
			fmt.Println(runtime.Version())
			continue
		}
		chosen, known := cases[name]
		iterations, err := strconv.ParseUint(argument, 10, 64)
		if !known || err != nil {
			fmt.Printf("cannot run %q\n", lines.Text())
			continue
		}
		// Setting it stops the world, even to the value it has.
		if processors != chosen.processors {
			processors = chosen.processors
			runtime.GOMAXPROCS(processors)
		}
		start := time.Now()
		units := chosen.run(iterations)
		fmt.Println(units, time.Since(start).Nanoseconds())
	}
}

func takeCount() uint64 {
	taken := *count
	*count = 0
	return taken
}

func blockGuard(blocks uint64) uint64 {
	for range blocks {
		deferOnce()
	}
	return takeCount()
}

//go:noinline
func deferOnce() {
	defer func() { *count++ }()
}

func scopeOf(entries int) func(uint64) uint64 {
	return func(scopes uint64) uint64 {
		for range scopes {
			deferInLoop(entries)
		}
		return takeCount()
	}
}

//go:noinline
func deferInLoop(entries int) {
	for range entries {
		defer func() { *count++ }()
	}
}

func recoverWithoutPanic(calls uint64) uint64 {
	for call := range calls {
		guarded(call)
	}
	return takeCount()
}

//go:noinline
func guarded(call uint64) (err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("panicked: %v", panicked)
		}
	}()
	work(call)
	return nil
}

//go:noinline
func work(uint64) { *count++ }

func containedPanic(panics uint64) uint64 {
	for range panics {
		contain()
	}
	return takeCount()
}

//go:noinline
func contain() {
	defer func() {
		if recover() != nil {
			*count++
		}
	}()
	raise()
}

//go:noinline
func raise() { panic("raised to be contained") }

func spawnAndJoin(tasks uint64) uint64 {
	joined := uint64(0)
	for range tasks {
		done := make(chan uint64, 1)
		go func() { done <- 1 }()
		joined += <-done
	}
	return joined
}

func pool(iterations uint64) uint64 {
	completed := uint64(0)
	for range iterations {
		tasks := make(chan uint64)
		ends := make(chan uint64, poolTasks)
		for range poolWorkers {
			go func() {
				for range tasks {
					ends <- 1
				}
			}()
		}
		for task := range uint64(poolTasks) {
			tasks <- task
		}
		close(tasks)
		for range poolTasks {
			completed += <-ends
		}
	}
	return completed
}

var (
	once  sync.Once
	value atomic.Uint64
)

func onceHot(reads uint64) uint64 {
	sum := uint64(0)
	for range reads {
		once.Do(func() { value.Store(1) })
		sum += value.Load()
	}
	return sum
}

func waitGroup(iterations uint64) uint64 {
	for range iterations {
		var group sync.WaitGroup
		group.Add(waitGroupTasks)
		for range waitGroupTasks {
			go func() {
				*count++
				group.Done()
			}()
		}
		group.Wait()
	}
	return takeCount()
}
