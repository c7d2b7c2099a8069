package httpapi

import (
	"context"
	"net/http"
	"time"

	"micronode/store"
)

// Storage is the durable tier as the operator sees it.
type Storage interface {
	State(ctx context.Context) (StorageState, error)
	// Scrub begins a walk over everything. ErrConflict: one is on its way.
	Scrub(ctx context.Context) (Done, error)
	// Repair heals what is known to be damaged with the bytes of peers: one object, or all of them.
	Repair(ctx context.Context, only *store.Address) (Repaired, error)
	// Backup copies everything into a new directory of the node's machine, and reads it back. ErrConflict: there is something.
	Backup(ctx context.Context, dir string) (BackupDone, error)
}

// StorageState answers GET /api/v1/storage.
type StorageState struct {
	Tier     string      `json:"tier"` // disk
	Dir      string      `json:"dir"`
	Objects  int64       `json:"objects"`
	Bytes    int64       `json:"bytes"`
	MaxBytes int64       `json:"max_bytes"`
	Free     int64       `json:"free"`    // bytes of the disk; -1: unknown
	Reserve  int64       `json:"reserve"` // bytes that writes leave free
	Failed   string      `json:"failed,omitempty"`
	Peers    []string    `json:"peers"`
	Scrub    ScrubState  `json:"scrub"`
	Damaged  []Damaged   `json:"damaged"` // at most 1000 of them
	Work     *WorkCounts `json:"work,omitempty"`
}

// WorkCounts are counts since the start.
type WorkCounts struct {
	Syncs   int64 `json:"syncs"`
	Written int64 `json:"written"` // bytes
}

// ScrubState is the walk that is under way, or the latest.
type ScrubState struct {
	Running  bool       `json:"running"`
	Started  *time.Time `json:"started,omitempty"`
	Finished *time.Time `json:"finished,omitempty"` // of the latest whole one
	Next     *time.Time `json:"next,omitempty"`
	Objects  int64      `json:"objects"`
	Bytes    int64      `json:"bytes"`
	Damaged  int64      `json:"damaged"`
	Healed   int64      `json:"healed"`
}

// Damaged is one object in quarantine.
type Damaged struct {
	Address store.Address `json:"address"`
	Found   time.Time     `json:"found"`
	Detail  string        `json:"detail"`
}

// RepairOrder asks for a repair.
type RepairOrder struct {
	Address string `json:"address,omitempty"` // empty: all that are known to be damaged
	Reason  string `json:"reason,omitempty"`
}

// Repaired answers POST /api/v1/storage/repair.
type Repaired struct {
	Tried  int      `json:"tried"`
	Healed int      `json:"healed"`
	Failed []Failed `json:"failed"` // at most 1000 of them
}

// Failed is an object that no peer could heal.
type Failed struct {
	Address store.Address `json:"address"`
	Detail  string        `json:"detail"`
}

// BackupOrder asks for a backup.
type BackupOrder struct {
	Dir    string `json:"dir"` // absolute, not there yet
	Reason string `json:"reason,omitempty"`
}

// BackupDone answers POST /api/v1/storage/backup.
type BackupDone struct {
	Dir      string    `json:"dir"`
	Created  time.Time `json:"created"`
	Objects  int64     `json:"objects"`
	Bytes    int64     `json:"bytes"`
	Messages int       `json:"messages"`
	Damaged  int       `json:"damaged"` // records that could not be read: they are not in it
}

// storageRoutes exist on a node that keeps things.
func (s *server) storageRoutes() []*route {
	st := s.ports.Storage
	if st == nil {
		return nil
	}
	return []*route{
		{pattern: "/api/v1/storage", verbs: []verb{{method: http.MethodGet, class: classAdmin, timed: true, do: func(ctx context.Context, w *reply, _ *http.Request) error {
			state, err := st.State(ctx)
			if err != nil {
				return err
			}
			return w.writeJSON(http.StatusOK, state)
		}}}},
		s.audited("/api/v1/storage/scrub", "scrub", true, func(ctx context.Context, w *reply, r *http.Request, a *AuditRecord) (any, error) {
			o, err := readBody[Order](s, w, r, `{"reason":"quarterly"}`)
			if err == nil {
				err = o.check(false)
			}
			if err != nil {
				return nil, err
			}
			a.Reason = o.Reason
			return st.Scrub(ctx)
		}),
		s.audited("/api/v1/storage/repair", "repair", streaming, s.repair),
		s.audited("/api/v1/storage/backup", "backup", streaming, s.backup),
	}
}

func (s *server) repair(ctx context.Context, w *reply, r *http.Request, a *AuditRecord) (any, error) {
	o, err := readBody[RepairOrder](s, w, r, `{"address":"b3:…"}`)
	if err != nil {
		return nil, err
	}
	if len(o.Reason) > maxReason {
		return nil, refuse(ErrBadRequest, "reason is too long. Shorten it.")
	}
	a.Reason, a.Target = o.Reason, o.Address
	if o.Address == "" {
		return s.ports.Storage.Repair(ctx, nil)
	}
	only, err := store.ParseAddress(o.Address)
	if err != nil {
		a.Target = ""
		return nil, err
	}
	return s.ports.Storage.Repair(ctx, &only)
}

func (s *server) backup(ctx context.Context, w *reply, r *http.Request, a *AuditRecord) (any, error) {
	o, err := readBody[BackupOrder](s, w, r, `{"dir":"/var/backups/micronode-1"}`)
	if err != nil {
		return nil, err
	}
	if len(o.Reason) > maxReason || len(o.Dir) > maxBackupDir || len(o.Dir) == 0 || o.Dir[0] != '/' {
		return nil, refuse(ErrBadRequest, "dir is an absolute path on the node's machine, of a directory that is not there yet.")
	}
	a.Reason, a.Target = o.Reason, o.Dir
	return s.ports.Storage.Backup(ctx, o.Dir)
}

const (
	maxBackupDir = 1024
	longOrder    = 24 * time.Hour // what a repair or a backup may take; ctx bounds it further
)

// Storage asks how the durable tier is.
func (c *Client) Storage(ctx context.Context) (StorageState, error) {
	var s StorageState
	return s, c.ask(ctx, wireCall{method: http.MethodGet, path: "/api/v1/storage", repeat: true}, &s)
}

// Scrub begins a walk over everything.
func (c *Client) Scrub(ctx context.Context, o Order) (Done, error) {
	var d Done
	return d, c.tell(ctx, "/api/v1/storage/scrub", o, &d)
}

// Repair heals what is damaged with the bytes of peers. It takes as long as it takes.
func (c *Client) Repair(ctx context.Context, o RepairOrder) (Repaired, error) {
	var d Repaired
	return d, c.tellPatiently(ctx, "/api/v1/storage/repair", o, &d, longOrder)
}

// Backup copies everything into a new directory of the node's machine. It takes as long as it takes.
func (c *Client) Backup(ctx context.Context, o BackupOrder) (BackupDone, error) {
	var d BackupDone
	return d, c.tellPatiently(ctx, "/api/v1/storage/backup", o, &d, longOrder)
}
