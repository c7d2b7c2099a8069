package actors

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"micronode/actors/mailbox"
	"micronode/kernel"
	"micronode/store"
	"micronode/store/mbox"
)

// Disk is a durable tier, as package store/pebble makes it. The node that is
// given one owns it: Stop closes it.
type Disk interface {
	store.Store
	store.Lister
	store.Meter
	store.Sweeper
	mailbox.Journal

	Mail(ctx context.Context) (mbox.Mail, error) // what the journal holds
	Failed() error                               // why it takes no writes; nil when it does
	Reopen(ctx context.Context) error            // after a failure; does nothing without one
	Look() store.Space
	Slowest() time.Duration           // of the commits since the last call
	Note(name string) ([]byte, error) // store.ErrNotFound
	SetNote(name string, value []byte) error
	OnRot(func(error))
	Close() error
}

// ErrNoDisk: the configuration wants persistence, and the program gave the node none.
var ErrNoDisk = errors.New("actors: amnesia=false needs Options.Disk, as store/pebble makes it")

// Causes that a disk gives. The mailbox has its own, because a cause closes one plane.
const (
	causeDisk     = "disk"      // not ready: the handle has failed
	causeDiskMail = "disk_mail" // the mailbox takes nothing meanwhile
	causeFull     = "disk_full"
	causeFullMail = "disk_full_mail"
	causeSlow     = "disk_slow"
	causeMail     = "mailbox_damage"
	causeRot      = "disk_damage" // until a scrub finds nothing
)

// restoreMail fills the mailbox with what the disk holds. What cannot be read stays
// where it is and is told; when nothing can, the plane stays closed.
func (n *Node) restoreMail(ctx context.Context) error {
	if n.mail == nil || n.disk == nil {
		return nil
	}
	mail, err := n.disk.Mail(ctx)
	ledger := n.tree.Ledger()
	switch {
	case errors.Is(err, store.ErrCorrupt):
		n.mail.Halt()
		n.damaged("mailbox", err)
		ledger.Raise(kernel.Cause{
			Name: causeMail, Effect: kernel.PlaneClosed, Plane: mailbox.ActorName,
			Detail: "the mailbox's records cannot be read: restore a backup (ronctl restore); " + err.Error(),
		})
		return nil
	case err != nil:
		return err
	}
	n.mail.Restore(mail)
	for _, bad := range mail.Damaged {
		n.damaged("mailbox", bad)
	}
	if len(mail.Damaged) > 0 {
		ledger.Raise(kernel.Cause{
			Name: causeMail, Effect: kernel.Warn,
			Detail: fmt.Sprintf("%d of the mailbox's records cannot be read and are not delivered; restore a backup to have them back: %v", len(mail.Damaged), mail.Damaged[0]),
		})
	}
	return nil
}

// damaged tells of damage that no address names.
func (n *Node) damaged(what string, err error) {
	n.corrupt.Add(1)
	n.metrics.integrity(what)
	n.bus.Publish(kernel.Event{Topic: topic("store"), Kind: "IntegrityFailed", Service: actorStorage, Data: damageData{What: what, Detail: err.Error()}})
}

// rotten tells of damage that the disk has met by itself, without a reader, and
// keeps telling until a scrub has found everything whole.
func (n *Node) rotten(err error) {
	n.damaged("engine", err)
	n.tree.Ledger().Raise(kernel.Cause{Name: causeRot, Effect: kernel.Warn, Detail: err.Error() + "; see what is damaged with ronctl scrub --wait, and put it again or repair it from peers"})
}

// frees reports whether nothing but want of room keeps the planes read-only: then
// what makes room goes on.
func (n *Node) frees() bool {
	missing := n.tree.Ledger().Readiness().Missing
	full := false
	for _, m := range missing {
		switch m {
		case causeFull, causeFullMail:
			full = true
		case causeSlow:
		case actorStorage, causeDisk, causeDisk + "_objects", causeDiskMail, causeMail:
			return false
		default:
			if strings.HasPrefix(m, mailbox.ActorName) && m != "mailbox_headroom" && m != "mailbox_redelivery" {
				return false
			}
		}
	}
	return full
}

// diskCare is what the storage actor remembers of a failed disk over its own
// restarts.
type diskCare struct {
	mu        sync.Mutex // guards all that follows
	fell      time.Time  // when the failure was seen last; zero: nothing is told
	tried     time.Time  // when it was last opened anew
	slow      time.Time  // when a commit was seen last that took too long; zero: nothing is told
	warned    bool       // it was opened anew, and readiness still tells
	reopening bool       // a task is at it
	stale     bool       // the mailbox is not what the disk holds
	sweeping  bool
}

// begin reports whether a task may start, and notes that it does.
func (c *diskCare) begin(task *bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := *task
	*task = true
	return !was
}

// unrestored reports whether the mailbox is still to be restored.
func (c *diskCare) unrestored() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stale
}

func (c *diskCare) end(task *bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*task = false
}

func (n *Node) closeDisk() error {
	if n.disk == nil {
		return nil
	}
	return n.disk.Close()
}

func (n *Node) tierName() string {
	if n.disk == nil {
		return "ram"
	}
	return "disk"
}

func (n *Node) dlqProfile() string {
	if n.disk == nil {
		return "ephemeral"
	}
	return "persistent"
}
