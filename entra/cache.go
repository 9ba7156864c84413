package entra

import "sync"

// cache keeps about max values: it has two generations, and when the younger
// one is full the older one is forgotten. What is used stays.
type cache[K comparable, V any] struct {
	max int

	mu         sync.Mutex
	young, old map[K]V
}

func newCache[K comparable, V any](max int) *cache[K, V] {
	return &cache[K, V]{max: max, young: map[K]V{}}
}

func (c *cache[K, V]) get(key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.young[key]
	if !ok {
		if v, ok = c.old[key]; ok {
			c.putLocked(key, v)
		}
	}
	return v, ok
}

func (c *cache[K, V]) put(key K, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.putLocked(key, v)
}

func (c *cache[K, V]) putLocked(key K, v V) {
	if len(c.young) >= c.max/2 {
		c.old, c.young = c.young, make(map[K]V, c.max/2)
	}
	c.young[key] = v
}

// drop forgets every key that match accepts.
func (c *cache[K, V]) drop(match func(K) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, generation := range []map[K]V{c.young, c.old} {
		for k := range generation {
			if match(k) {
				delete(generation, k)
			}
		}
	}
}
