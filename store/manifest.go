package store

import "time"

// Manifest is what a backup says about itself.
type Manifest struct {
	Format   int       `json:"format"` // of the tier's records
	Created  time.Time `json:"created"`
	Objects  int64     `json:"objects"`
	Bytes    int64     `json:"bytes"` // of payload
	Messages int       `json:"messages"`
	Keys     int       `json:"keys"`              // in the mailbox's dedup window
	List     Address   `json:"list"`              // of the list of addresses
	Damaged  int       `json:"damaged,omitempty"` // records that could not be read when it was made; they are not in the list
}
