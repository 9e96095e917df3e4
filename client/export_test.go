package client

// Break loses the connection of a socket, as a network does.
func (s *Socket) Break() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at.Close()
}
