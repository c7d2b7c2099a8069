// Package amnesia makes the operating system hold the node to its word that it
// writes nothing (contract §12): no core dumps, and on Linux a Landlock ruleset
// under which no file can be created or written for the rest of the process.
//
// It changes the whole process for good, so only main may call it; it is not for
// programs that embed a node.
package amnesia

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/landlock-lsm/go-landlock/landlock"
	llsyscall "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// ErrNotEnforced says that the kernel does not hold the process to it, and why.
var ErrNotEnforced = errors.New("amnesia: the kernel does not enforce it")

// NoDumps sees to it that no core is dumped and no debugger of the same user
// reads the memory. It comes before the first secret does.
func NoDumps() error {
	none := unix.Rlimit{}
	return errors.Join(unix.Setrlimit(unix.RLIMIT_CORE, &none), unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0))
}

// Needs are what the process goes on needing of the file system.
type Needs struct {
	Read   []string // files that are read again on a reload; their directories stay readable
	Socket string   // the operator socket: it may be removed, and bound again
}

// Enforce forbids every write for the rest of the process, and tries whether that
// holds. Errors: ErrNotEnforced; then nothing, or not everything, is forbidden.
func Enforce(n Needs) error {
	rules := []landlock.Rule{landlock.RODirs("/proc").IgnoreIfMissing(), landlock.RODirs("/sys").IgnoreIfMissing()}
	for _, dir := range readable(n.Read) {
		rules = append(rules, landlock.RODirs(dir).IgnoreIfMissing())
	}
	dir := os.TempDir()
	if n.Socket != "" {
		dir = filepath.Dir(n.Socket)
		rules = append(rules, landlock.PathAccess(llsyscall.AccessFSRemoveFile|llsyscall.AccessFSMakeSock|llsyscall.AccessFSReadDir, dir).IgnoreIfMissing())
	}
	if err := restrict(rules); err != nil {
		return fmt.Errorf("%w: %w", ErrNotEnforced, err)
	}
	return try(dir)
}

// restrict takes the newest ABI that the kernel has; the oldest forbids writing.
func restrict(rules []landlock.Rule) (err error) {
	for _, c := range []landlock.Config{landlock.V6, landlock.V5, landlock.V3, landlock.V2, landlock.V1} {
		if err = c.RestrictPaths(rules...); err == nil {
			return nil
		}
	}
	return err
}

// readable are the directories of files, as they are named and as they are.
func readable(files []string) (dirs []string) {
	for _, f := range files {
		if f == "" {
			continue
		}
		abs, err := filepath.Abs(f)
		if err != nil {
			continue
		}
		dirs = append(dirs, filepath.Dir(abs))
		if real, err := filepath.EvalSymlinks(abs); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// try makes a directory where this user might, and is glad to fail: Landlock
// forbids it by the same rule as files, and no file is opened for it.
func try(dirs ...string) error {
	for _, dir := range append(dirs, os.TempDir()) {
		name := filepath.Join(dir, fmt.Sprintf(".micronode-amnesia-%d", os.Getpid()))
		err := os.Mkdir(name, 0o700)
		if err == nil {
			_ = os.Remove(name)
			return fmt.Errorf("%w: a directory could be made in %s", ErrNotEnforced, dir)
		}
		if !errors.Is(err, os.ErrPermission) && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%w: making a directory failed, but for another reason: %w", ErrNotEnforced, err)
		}
	}
	return nil
}
