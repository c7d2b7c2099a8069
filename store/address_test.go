package store_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"micronode/store"
)

const helloText = "b3:d74981efa70a0c880b8d8c1985d075dbcbf679b99a5f9914e5aaf96b831a9e24"

func TestParseAddress(t *testing.T) {
	digits := strings.TrimPrefix(helloText, "b3:")
	bad := map[string]string{
		"empty":           "",
		"no prefix":       digits,
		"upper digits":    "b3:" + strings.ToUpper(digits),
		"upper prefix":    "B3:" + digits,
		"other prefix":    "b2:" + digits,
		"one short":       helloText[:len(helloText)-1],
		"one long":        helloText + "0",
		"leading space":   " " + helloText[:len(helloText)-1],
		"not hexadecimal": helloText[:len(helloText)-1] + "g",
		"before digits":   "b3:" + digits[:10] + "/" + digits[11:],
		"after digits":    "b3:" + digits[:10] + ":" + digits[11:],
		"before letters":  "b3:" + digits[:10] + "`" + digits[11:],
		"newline":         helloText[:len(helloText)-1] + "\n",
		"nul":             helloText[:len(helloText)-1] + "\x00",
		"wide digit":      "b3:" + digits[:61] + "０",
	}
	for name, text := range bad {
		t.Run(name, func(t *testing.T) {
			a, err := store.ParseAddress(text)
			if !errors.Is(err, store.ErrBadAddress) || a != (store.Address{}) {
				t.Fatalf("ParseAddress(%q) = %v, %v; want ErrBadAddress", text, a, err)
			}
			kept := store.Sum(nil)
			if err := kept.UnmarshalText([]byte(text)); !errors.Is(err, store.ErrBadAddress) || kept != store.Sum(nil) {
				t.Fatalf("UnmarshalText(%q) = %v, receiver %v; want ErrBadAddress and no change", text, err, kept)
			}
		})
	}
	a, err := store.ParseAddress(helloText)
	if err != nil || a != store.Sum([]byte("hello world")) || a.String() != helloText {
		t.Fatalf("ParseAddress(%s) = %v, %v", helloText, a, err)
	}
}

func TestAddressInJSON(t *testing.T) {
	text, err := json.Marshal(store.Sum([]byte("hello world")))
	if err != nil || string(text) != `"`+helloText+`"` {
		t.Fatalf("Marshal = %s, %v", text, err)
	}
	var back store.Address
	if err := json.Unmarshal(text, &back); err != nil || back.String() != helloText {
		t.Fatalf("Unmarshal = %v, %v", back, err)
	}
}

func TestAddressOrderIsTextOrder(t *testing.T) {
	var all []store.Address
	for i := range 200 {
		all = append(all, store.Sum([]byte{byte(i)}))
	}
	slices.SortFunc(all, store.Address.Compare)
	if !slices.IsSortedFunc(all, func(a, b store.Address) int { return strings.Compare(a.String(), b.String()) }) {
		t.Fatal("Compare does not order as the text does")
	}
	if all[0].Compare(all[0]) != 0 || all[0].Compare(all[1]) != -1 || all[1].Compare(all[0]) != 1 {
		t.Fatal("Compare of equal or neighbouring addresses")
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, seed := range []string{"", helloText, strings.ToUpper(helloText), helloText + " ", "b3:" + strings.Repeat("0", 64)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := store.ParseAddress(text)
		if err != nil {
			if !errors.Is(err, store.ErrBadAddress) {
				t.Fatalf("ParseAddress(%q): %v is not ErrBadAddress", text, err)
			}
			if len(err.Error()) > 200 {
				t.Fatalf("the error repeats its input: %v", err)
			}
			return
		}
		if a.String() != text {
			t.Fatalf("ParseAddress(%q) prints as %s", text, a)
		}
	})
}
