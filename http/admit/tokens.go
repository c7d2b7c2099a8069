package admit

import "time"

// tokens is a token bucket. Its owner passes rate and burst at each call, so that
// they may change.
type tokens struct {
	have float64
	at   time.Duration
}

func (t *tokens) fill(now time.Duration, rate, burst int) {
	if dt := now - t.at; dt > 0 {
		t.have = min(float64(burst), t.have+dt.Seconds()*float64(rate))
		t.at = now
	}
}

func (t *tokens) take() bool {
	if !t.has(1) {
		return false
	}
	t.have--
	return true
}

// has reports whether there are n; what arithmetic has lost does not count.
func (t *tokens) has(n float64) bool { return t.have >= n-1e-6 }

// until is how long it takes until there are n.
func (t *tokens) until(n float64, rate int) time.Duration {
	if t.have >= n {
		return 0
	}
	return time.Duration((n-t.have)/float64(rate)*float64(time.Second)) + 1
}

// full reports whether nothing would be lost by forgetting it.
func (t *tokens) full(burst int) bool { return t.have >= float64(burst) }

// burstOf is what gathers of a rate.
func burstOf(rate int) int { return max(1, rate/10) }
