package engine

import (
	"bytes"
	"net/http"
)

// Response is what ServeHTTP wrote. Status 101: it accepted the socket.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// responseWriter collects a response, as httptest's recorder does. A body beyond the limit aborts the event.
type responseWriter struct {
	tx     *Tx
	header http.Header
	sent   http.Header // as of WriteHeader
	status int
	body   bytes.Buffer
}

func (w *responseWriter) Header() http.Header { return w.header }

func (w *responseWriter) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status, w.sent = status, w.header.Clone()
	}
}

func (w *responseWriter) Write(b []byte) (int, error) {
	w.tx.use()
	if most := w.tx.limits().Response; w.body.Len()+len(b) > most {
		w.tx.Abort(w.tx.errorf(tooLarge, "the object's response has more than %d bytes; nothing was changed", most))
	}
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}

func (w *responseWriter) response() *Response {
	w.WriteHeader(http.StatusOK)
	if w.sent.Get("Content-Type") == "" && w.body.Len() > 0 {
		w.sent.Set("Content-Type", http.DetectContentType(w.body.Bytes()))
	}
	return &Response{Status: w.status, Header: w.sent, Body: w.body.Bytes()}
}
