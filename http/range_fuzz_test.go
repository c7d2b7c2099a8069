package httpapi_test

import (
	"math/big"
	"regexp"
	"strings"
	"testing"

	httpapi "micronode/http"
)

var oneRange = regexp.MustCompile(`^([0-9]*)-([0-9]*)$`)

// naiveRange is the RFC read slowly, with numbers of any size.
func naiveRange(header string, size int64) (off, n int64, verdict int) {
	if len(header) < 6 || !strings.EqualFold(header[:6], "bytes=") {
		return 0, 0, 0
	}
	var specs []string
	for _, s := range strings.Split(header[6:], ",") {
		if s = strings.Trim(s, " \t"); s != "" {
			specs = append(specs, s)
		}
	}
	if len(specs) != 1 {
		return 0, 0, 0
	}
	m := oneRange.FindStringSubmatch(specs[0])
	if m == nil || m[1] == "" && m[2] == "" {
		return 0, 0, 0
	}
	end := big.NewInt(size)
	from, to := new(big.Int), new(big.Int).Sub(end, big.NewInt(1))
	if m[1] == "" {
		count, _ := new(big.Int).SetString(m[2], 10)
		switch {
		case count.Sign() == 0:
			return 0, 0, 2
		case size == 0:
			return 0, 0, 0
		}
		if from.Sub(end, count).Sign() < 0 {
			from.SetInt64(0)
		}
		return from.Int64(), size - from.Int64(), 1
	}
	from.SetString(m[1], 10)
	if m[2] != "" {
		asked, _ := new(big.Int).SetString(m[2], 10)
		if asked.Cmp(from) < 0 {
			return 0, 0, 0
		}
		if asked.Cmp(to) < 0 {
			to = asked
		}
	}
	if from.Cmp(end) >= 0 {
		return 0, 0, 2
	}
	return from.Int64(), to.Int64() - from.Int64() + 1, 1
}

func FuzzRange(f *testing.F) {
	for _, s := range []string{"bytes=0-0", "bytes=-5", "bytes=5-", "bytes=1-2,3-4", "bytes=,1-2,", "BYTES=9223372036854775807-9223372036854775808", "bytes=-", "bytes=--1", "lines=1-2", "bytes=2-1", "bytes 0-1", "bytes=99999999999999999999-99999999999999999998"} {
		f.Add(s, int64(10))
		f.Add(s, int64(0))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 0 {
			return
		}
		off, n, v := httpapi.ParseRange(header, size)
		wantOff, wantN, want := naiveRange(header, size)
		// Both ends beyond 63 bits compare as equal: either way nothing is served.
		if v == 2 && want == 0 && len(header) > 36 {
			return
		}
		if v != want || v == 1 && (off != wantOff || n != wantN) {
			t.Fatalf("%q of %d: %d+%d verdict %d, want %d+%d verdict %d", header, size, off, n, v, wantOff, wantN, want)
		}
		if v == 1 && (off < 0 || n < 1 || off+n > size) {
			t.Fatalf("%q of %d: %d+%d lies outside", header, size, off, n)
		}
	})
}

var traceparent = regexp.MustCompile(`^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?$`)

func FuzzTraceparent(f *testing.F) {
	const good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for _, s := range []string{good, good + "-x", "01" + good[2:] + "-x", "ff" + good[2:], strings.ToUpper(good), good[:54], strings.ReplaceAll(good, "f067aa0ba902b7", "00000000000000"), good + "x", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, ok := httpapi.ParseTraceparent(s)
		m := traceparent.FindStringSubmatch(strings.ReplaceAll(s, "\n", "?"))
		want := m != nil && m[1] != "ff" && strings.Trim(m[2], "0") != "" && strings.Trim(m[3], "0") != "" && (m[1] != "00" || m[4] == "")
		if ok != want || ok && id != m[2] {
			t.Fatalf("%q: %q %v, want %v", s, id, ok, want)
		}
	})
}

var corrID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

func FuzzCorrID(f *testing.F) {
	for _, s := range []string{"", "a", "a b", "a\n", strings.Repeat("x", 64), strings.Repeat("x", 65), "ä", "A-z_0.9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if want := corrID.MatchString(s) && !strings.Contains(s, "\n"); httpapi.ValidCorrID(s) != want {
			t.Fatalf("%q: want %v", s, want)
		}
	})
}
