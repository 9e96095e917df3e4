package client

// Break loses the connection of a socket, as a network does.
func (s *Socket) Break() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at.Close()
}

// Sending makes the socket seem to wait with a message, until release is called.
func (s *Socket) Sending() (release func()) {
	s.sending <- struct{}{}
	return func() { <-s.sending }
}
