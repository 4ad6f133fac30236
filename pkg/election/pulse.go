package election

import "time"

// Pulse finds out for how long a process did not run. Whatever runs regularly in it beats, several times in [Stall].
type Pulse struct {
	last    time.Time
	longest time.Duration // without a beat since the last Pause
}

// Beat notes that the process runs. It reports whether it did not for a while: who acts on that asks by [Pulse.Pause].
func (p *Pulse) Beat(now time.Time) (paused bool) {
	if !p.last.IsZero() {
		p.longest = max(p.longest, now.Sub(p.last))
	}
	p.last = now
	return p.longest > Stall
}

// Pause returns for how long the process did not run since the last call, if it did not several times the longest one. A pause
// that has just ended counts, whether there was a beat since or not.
func (p *Pulse) Pause(now time.Time) time.Duration {
	p.Beat(now)
	longest := p.longest
	p.longest = 0
	return longest
}
