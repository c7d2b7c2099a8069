package config

import (
	"errors"
	"math"
	"regexp"
	"strconv"

	"github.com/dustin/go-humanize"
)

// Size is a number of bytes. Its text form is a whole number with an optional
// unit: 65536, 64KiB, 1MiB (powers of 1024), 64KB (powers of 1000).
type Size int64

const (
	kib Size = 1 << 10
	mib Size = 1 << 20
	gib Size = 1 << 30
)

const sizePattern = `^[0-9]{1,19}(\.[0-9]{1,9})? ?([KMGTPEkmgtpe]i?)?[Bb]?$`

var errSize = errors.New(`not a size: write bytes or a unit, as 65536 or "64KiB"`)

// String is the shortest exact form: 1MiB, 1536KiB, 1000.
func (s Size) String() string {
	for _, u := range []struct {
		unit Size
		name string
	}{{1024 * gib, "TiB"}, {gib, "GiB"}, {mib, "MiB"}, {kib, "KiB"}} {
		if s >= u.unit && s%u.unit == 0 {
			return strconv.FormatInt(int64(s/u.unit), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalText implements encoding.TextMarshaler with String.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the inverse of MarshalText; it takes every text form.
func (s *Size) UnmarshalText(b []byte) error {
	v, ok := parseSize(string(b))
	if !ok {
		return errSize
	}
	*s = v
	return nil
}

// parseSize is stricter than humanize, which reads "1,5MiB" as 15 MiB.
func parseSize(s string) (Size, bool) {
	if !regexp.MustCompile(sizePattern).MatchString(s) {
		return 0, false
	}
	n, err := humanize.ParseBytes(s)
	if err != nil || n > math.MaxInt64 {
		return 0, false
	}
	return Size(n), true
}
