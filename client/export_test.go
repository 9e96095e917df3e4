package client

// Break loses the connection of a socket, as a network does.
func (s *Socket) Break() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at.Close()
}

// Sending has the socket send as if a message waited to be taken, until release is called.
func (s *Socket) Sending() (release func()) {
	s.sending <- struct{}{}
	return func() { <-s.sending }
}
