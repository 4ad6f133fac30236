package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// The kernel keeps the MACs of neighbours for all network namespaces in one table, of 1,024 entries unless it is told otherwise,
// while each node of a real cluster has a table of its own. A full one drops packets of every lab on the machine.
const neighboursDir = "/proc/sys/net/ipv4/neigh/default"

// roomForNeighbours lets the table of the machine have all pairs of n hosts, twice. restore puts back what was there.
func roomForNeighbours(dir string, n int) (restore func() error, err error) {
	former := map[string]string{}
	restore = func() (err error) {
		for file, value := range former {
			err = errors.Join(err, os.WriteFile(file, []byte(value), 0o644))
		}
		return err
	}
	// The table is swept at the first, entries are kept for five seconds beyond the second, and none is made beyond the third.
	for _, name := range []string{"gc_thresh3", "gc_thresh2", "gc_thresh1"} {
		file := filepath.Join(dir, name)
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("read size of the neighbour table: %w", err), restore())
		}
		now, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("read size of the neighbour table: %s: %w", file, err), restore())
		}
		if want := 2 * n * n; now < want {
			if err := os.WriteFile(file, []byte(strconv.Itoa(want)), 0o644); err != nil {
				return nil, errors.Join(fmt.Errorf("enlarge the neighbour table: %w", err), restore())
			}
			former[file] = string(text)
		}
	}
	return restore, nil
}
