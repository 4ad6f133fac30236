package speaker

// memo remembers what was worked out of objects, as long as they are asked for in each round. Objects of a cache are replaced and never
// changed. It is not safe for concurrent use.
type memo[K comparable, V any] struct {
	work     func(K) V
	now, old map[K]V // of this round, of the last one
}

func newMemo[K comparable, V any](work func(K) V) *memo[K, V] {
	return &memo[K, V]{work: work, now: map[K]V{}}
}

// begin begins another round.
func (m *memo[K, V]) begin() { m.old, m.now = m.now, make(map[K]V, len(m.now)) }

// of returns work(k), which is done once.
func (m *memo[K, V]) of(k K) V {
	if v, ok := m.now[k]; ok {
		return v
	}
	v, ok := m.old[k]
	if !ok {
		v = m.work(k)
	}
	m.now[k] = v
	return v
}
