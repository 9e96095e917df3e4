package proxy

// Held returns how many bytes have been held back, and what is closed when there are more.
func (p *Proxy) Held() (bytes int64, more <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats.Held, p.changed
}
