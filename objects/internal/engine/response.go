package engine

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// Response is the response that ServeHTTP wrote. Status 101 means that it accepted the socket.
type Response struct {
	Status int
	Header http.Header
	Body   []byte

	Stream Stream        // writes the rest of the body once the event is durable; nil: there is no rest
	Rest   io.ReadCloser // the rest of the body, for whoever sent the request; nil: none
}

// HTTP returns the response in net/http's form.
func (r *Response) HTTP(to *http.Request) *http.Response {
	response := &http.Response{
		Status: strconv.Itoa(r.Status) + " " + http.StatusText(r.Status), StatusCode: r.Status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: r.Header, Request: to,
		Body: io.NopCloser(bytes.NewReader(r.Body)), ContentLength: int64(len(r.Body)),
	}
	if r.Rest != nil {
		response.Body, response.ContentLength = rest{io.MultiReader(bytes.NewReader(r.Body), r.Rest), r.Rest}, -1
	}
	return response
}

// rest is a body whose beginning is in memory.
type rest struct {
	io.Reader
	io.Closer
}

// responseWriter collects a response, as httptest's recorder does. A body beyond the limit aborts the event. It
// implements http.Flusher because some code requires one.
type responseWriter struct {
	tx     *Tx
	header http.Header
	sent   http.Header // as of WriteHeader
	status int
	body   bytes.Buffer
}

func (w *responseWriter) Header() http.Header { return w.header }

// WriteHeader panics, as in net/http, if the status cannot be sent: clients refuse what has not three digits.
func (w *responseWriter) WriteHeader(status int) {
	if status < 100 || status > 999 {
		panic(fmt.Sprintf("WriteHeader: %d is no status of HTTP, which has three digits", status))
	}
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

// Flush does nothing: the response leaves when the event is durable.
func (w *responseWriter) Flush() {}

func (w *responseWriter) response() *Response {
	w.WriteHeader(http.StatusOK)
	if w.sent.Get("Content-Type") == "" && w.body.Len() > 0 {
		w.sent.Set("Content-Type", http.DetectContentType(w.body.Bytes()))
	}
	return &Response{Status: w.status, Header: w.sent, Body: w.body.Bytes()}
}
