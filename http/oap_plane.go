package httpapi

import (
	"encoding/json"
	"net"
	"time"

	"micronode/http/oap"
)

// planeOAP is the second door.
const planeOAP = "oap"

// Waits of an accept loop that finds no room in the process, as net/http's.
const (
	acceptLeast = 5 * time.Millisecond
	acceptMost  = time.Second
)

// newOAPPlane sets the second door up: the listener, the connections and the
// drain are those of any plane, only what is spoken differs.
func newOAPPlane(s *server, maxConns int) *plane {
	p := newPlane(planeOAP, s, maxConns)
	p.http = nil
	p.peer = func(c *conn) { c.framing.next = frameLost } // nothing here is framed as HTTP
	p.oap = oap.NewServer(oap.Options{
		Handle: p.face.serveOAP, Hello: s.hello, Fault: p.face.oapFault, Now: s.ports.Now,
		Limits: func() oap.Limits {
			l := s.limits()
			return oap.Limits{IdleTimeout: l.IdleTimeout, WriteTimeout: l.RequestTimeout, Ratio: l.InflateRatio, InflateMax: l.InflateBytes}
		},
		Guard: s.inflate, Memory: &s.unread, MemoryMax: maxUnfinished,
		State: func(nc net.Conn, working bool) {
			c, ok := nc.(*conn)
			switch {
			case !ok:
			case working:
				c.become(connWorking)
			default:
				c.become(connQuiet)
				c.set.changed()
			}
		},
	})
	return p
}

// serveOAP accepts until the listener ends.
func (p *plane) serveOAP(ln *listener) error {
	wait := acceptLeast
	for {
		c, err := ln.Accept()
		if busy, ok := err.(interface{ Temporary() bool }); ok && busy.Temporary() {
			timer := time.NewTimer(wait)
			select {
			case <-p.base.Done():
			case <-timer.C:
			}
			timer.Stop()
			wait = min(2*wait, acceptMost)
			continue
		}
		if err != nil {
			return err
		}
		wait = acceptLeast
		p.set.serving(+1)
		go func() { // awaited through the set: awaitPlane
			defer p.set.serving(-1)
			defer c.Close()
			p.oap.ServeConn(p.base, c)
		}()
	}
}

// hello is the reply to HELLO (contract §7).
type hello struct {
	MaxFrame    int      `json:"max_frame"`
	MaxInflight int      `json:"max_inflight"`
	Flags       int      `json:"flags_supported"`
	Versions    []int    `json:"versions"`
	Transports  []string `json:"transports"`
	Server      string   `json:"server_version"`
	Amnesia     bool     `json:"amnesia"`
	PQ          string   `json:"pq"`
}

func (s *server) hello() []byte {
	v := s.ports.Version()
	b, _ := json.Marshal(hello{ // strings and numbers: cannot fail
		MaxFrame: oap.MaxFrame, MaxInflight: oap.MaxInflight, Flags: 0xff, Versions: []int{1}, Transports: s.transports(),
		Server: v.Version, Amnesia: v.Features.Amnesia, PQ: v.PQ.Mode,
	})
	return b
}

// goodbyeOAP tells a connection for which there is no room so.
func (f *face) goodbyeOAP() []byte {
	p, _ := problemOf(refuse(ErrOverload, "Every connection that limits.max_conns allows is busy. Wait a second, then connect again."), oapCorrID(0))
	body, _ := json.Marshal(p) // strings and numbers: cannot fail
	return oap.AppendFrame(nil, &oap.Frame{Flags: oap.FlagResp | oap.FlagEnd, Code: uint16(p.Status), Payload: body})
}

func (s *server) transports() []string {
	if s.overTLS {
		return []string{"tcp+tls"}
	}
	return []string{"tcp"}
}
