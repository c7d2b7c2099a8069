package oap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// HelloReply is what a server says of itself (contract §7).
type HelloReply struct {
	MaxFrame      int      `json:"max_frame"`    // bytes
	MaxInflight   int      `json:"max_inflight"` // open exchanges on a connection
	Flags         int      `json:"flags_supported"`
	Versions      []int    `json:"versions"`
	Transports    []string `json:"transports"`
	ServerVersion string   `json:"server_version"`
	Amnesia       bool     `json:"amnesia"`
	PQ            string   `json:"pq"`
}

// Stored is an object that the server has.
type Stored struct {
	Address string `json:"address"` // b3: and 64 hex digits
	Size    int64  `json:"size"`    // bytes
}

// Meta is what comes before the bytes of an object.
type Meta struct {
	Stored
	Offset int64 `json:"offset"` // of the first byte that comes
	Length int64 `json:"length"` // bytes that come
}

// verb is what the payload of START says of objects.
type verb struct {
	Op     string `json:"op"`
	Obj    string `json:"obj,omitempty"`
	Size   *int64 `json:"size,omitempty"`
	Offset *int64 `json:"offset,omitempty"`
	Length *int64 `json:"length,omitempty"`
}

func (v verb) bytes() []byte {
	b, _ := json.Marshal(v) // strings and numbers: cannot fail
	return b
}

// Hello asks the server what it is.
func (c *Client) Hello(ctx context.Context) (r HelloReply, err error) {
	x, err := c.begin(ctx, AppHello)
	if err != nil {
		return r, err
	}
	defer x.end()
	var body []byte
	if c.o.UA != "" {
		body, _ = json.Marshal(map[string]string{"ua": c.o.UA}) // strings: cannot fail
	}
	if err := x.send(ctx, FlagReq, body); err != nil {
		return r, err
	}
	a, err := x.next(ctx)
	if err != nil {
		return r, err
	}
	x.over = true // one frame is all, whether it says END or not
	err = parse("HELLO", a.payload, &r)
	return r, err
}

// Put stores what r has. size is its length, or -1; expect is the address it should
// have, or empty. An error of r gives the upload up: nothing is stored.
func (c *Client) Put(ctx context.Context, r io.Reader, size int64, expect string) (s Stored, err error) {
	v := verb{Op: "put", Obj: expect}
	if size >= 0 {
		v.Size = &size
	}
	x, err := c.begin(ctx, AppObjects)
	if err != nil {
		return s, err
	}
	defer x.end()
	if err := x.send(ctx, FlagReq|FlagStart, v.bytes()); err != nil {
		return s, err
	}
	a, err := x.upload(ctx, r, size)
	if err != nil {
		return s, err
	}
	err = parse("put", a.payload, &s)
	return s, err
}

// upload sends r in DATA frames and returns the answer, which may come early.
func (x *request) upload(ctx context.Context, r io.Reader, size int64) (a answer, err error) {
	room := int64(MaxChunk)
	if size >= 0 && size < room {
		room = max(size+1, bufferLeast) // one byte more shows the end
	}
	chunk := make([]byte, room)
	for flags := FlagReq; flags&FlagEnd == 0; {
		n, err := io.ReadFull(r, chunk)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			flags |= FlagEnd
		case err != nil:
			return a, fmt.Errorf("oap: reading what to put: %w", err)
		}
		if a, ok := x.early(); ok {
			err := x.judge(&a)
			_ = x.send(ctx, FlagReq|FlagEnd, nil) // what the server still expects; the answer counts
			return a, err
		}
		if err := x.send(ctx, flags, chunk[:n]); err != nil {
			return a, err
		}
	}
	return x.next(ctx)
}

// Get writes n bytes of an object from off on, or all to its end when n is negative,
// to w. It does not verify them: nothing here hashes, the caller does, and until then
// they are not the object. Fewer bytes than announced are io.ErrUnexpectedEOF. When
// w fails, the rest is given up.
func (c *Client) Get(ctx context.Context, addr string, off, n int64, w io.Writer) (m Meta, err error) {
	v := verb{Op: "get", Obj: addr}
	if off > 0 {
		v.Offset = &off
	}
	if n >= 0 {
		v.Length = &n
	}
	x, err := c.begin(ctx, AppObjects)
	if err != nil {
		return m, err
	}
	defer x.end()
	if err := x.send(ctx, FlagReq|FlagStart|FlagEnd, v.bytes()); err != nil {
		return m, err
	}
	a, err := x.next(ctx)
	if err != nil {
		return m, err
	}
	if err := parse("get", a.payload, &m); err != nil {
		return m, err
	}
	return m, x.download(ctx, a, m.Length, w)
}

// download takes the bytes that follow the first frame of an answer.
func (x *request) download(ctx context.Context, a answer, left int64, w io.Writer) (err error) {
	for !a.last() {
		if a, err = x.next(ctx); err != nil {
			return err
		}
		if left -= int64(len(a.payload)); left < 0 {
			return errors.New("oap: more bytes came than were announced")
		}
		if _, err := w.Write(a.payload); err != nil {
			return fmt.Errorf("oap: writing what was got: %w", err)
		}
	}
	if left > 0 {
		return fmt.Errorf("oap: %d bytes are missing at the end: %w", left, io.ErrUnexpectedEOF)
	}
	return nil
}

// Head returns an object's size.
func (c *Client) Head(ctx context.Context, addr string) (s Stored, err error) {
	body, err := c.Call(ctx, AppObjects, verb{Op: "head", Obj: addr}.bytes())
	if err != nil {
		return s, err
	}
	err = parse("head", body, &s)
	return s, err
}

// Has reports whether the server has an object.
func (c *Client) Has(ctx context.Context, addr string) (bool, error) {
	body, err := c.Call(ctx, AppObjects, verb{Op: "has", Obj: addr}.bytes())
	if err != nil {
		return false, err
	}
	var reply struct {
		Has bool `json:"has"`
	}
	err = parse("has", body, &reply)
	return reply.Has, err
}

func parse(op string, body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("oap: the answer to %s is not what OAP/1 says: %w", op, err)
	}
	return nil
}
