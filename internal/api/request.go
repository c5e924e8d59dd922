package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// MaxRequest is the largest body in bytes that the agent takes.
const MaxRequest = 64 << 10

// Decode reads the body of a request into v: at most MaxRequest bytes, one
// JSON value, no unknown fields. No body leaves v as it is. Its errors are
// [*Error].
func Decode(body io.Reader, v any) error {
	data, err := io.ReadAll(io.LimitReader(body, MaxRequest+1))
	switch {
	case err != nil:
		return &Error{Code: BadRequest, Text: fmt.Sprintf("reading the request: %v", err)}
	case len(data) > MaxRequest:
		return &Error{Code: TooLarge, Text: fmt.Sprintf("the request has more than %d bytes", MaxRequest)}
	case len(data) == 0:
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return &Error{Code: BadRequest, Text: fmt.Sprintf("reading the request: %v", err)}
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return &Error{Code: BadRequest, Text: "the request has more than one JSON value"}
	}
	return nil
}

// Answer writes v as JSON.
func Answer(w http.ResponseWriter, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(append(data, '\n'))
	return err
}

// Fail writes err as the answer.
func Fail(w http.ResponseWriter, err error) {
	e := AsError(err)
	data, merr := json.Marshal(Failure{Error: *e})
	if merr != nil {
		http.Error(w, e.Text, http.StatusInternalServerError)
		return
	}
	status := MeaningOf(e.Code).Status
	if status == 0 {
		status = http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(data, '\n'))
}

// Stream writes values one a line, each sent on at once.
type Stream struct {
	w http.ResponseWriter
	c *http.ResponseController
}

// NewStream begins a stream of values as the answer.
func NewStream(w http.ResponseWriter) *Stream {
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	s := &Stream{w: w, c: http.NewResponseController(w)}
	s.c.Flush()
	return s
}

// Send writes one value.
func (s *Stream) Send(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if _, err := s.w.Write(append(data, '\n')); err != nil {
		return err
	}
	return s.c.Flush()
}
