package httpapi

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"micronode/store"
	"micronode/store/mbox"
)

// maxNamed is the longest unknown member that a problem repeats, in bytes.
const maxNamed = 64

// reader reads one body of the mailbox strictly: members are known, come once
// and are written as they are, values have the right type, text is UTF-8 (the
// package beneath sees to repetition and encoding, RFC 7493). What it cannot
// read is an error for the whole body. A value that is read and does not fit is
// the fault of its item alone.
type reader struct {
	dec   *jsontext.Decoder
	raw   []byte
	verb  bool   // the object names a verb of OAP, too
	shape string // an example of what the path takes
	at    string // "" or "Item 3: ", in front of every complaint
	fault error  // the first of the current item
}

// readItems reads one object, or an array of up to mbox.MaxBatch where several
// are taken. one reads an object and gives it its fault.
func readItems[T any](raw []byte, shape string, several bool, one func(*reader) (T, error)) (items []T, array bool, err error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, false, refuse(ErrBadRequest, "The body is empty. It is JSON like "+shape+".")
	}
	r := &reader{dec: jsontext.NewDecoder(bytes.NewBuffer(raw)), raw: raw, shape: shape}
	if array = several && r.dec.PeekKind() == jsontext.KindBeginArray; array {
		items, err = readArray(r, one)
	} else {
		var item T
		item, err = one(r)
		items = []T{item}
	}
	if err != nil {
		return nil, array, err
	}
	if _, err := r.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, array, refuse(ErrBadRequest, "Something follows the JSON value in the body. Send one value and nothing else.")
	}
	return items, array, nil
}

func readArray[T any](r *reader, one func(*reader) (T, error)) (items []T, err error) {
	if _, err := r.dec.ReadToken(); err != nil {
		return nil, r.malformed(err)
	}
	for {
		switch k := r.dec.PeekKind(); {
		case k == jsontext.KindEndArray:
			if _, err := r.dec.ReadToken(); err != nil {
				return nil, r.malformed(err)
			}
			if len(items) == 0 {
				return nil, refuse(ErrBadRequest, "The array is empty. It has from 1 to "+strconv.Itoa(mbox.MaxBatch)+" items.")
			}
			return items, nil
		case k != jsontext.KindInvalid && len(items) == mbox.MaxBatch:
			return nil, refuse(ErrBadRequest, "The array has more than "+strconv.Itoa(mbox.MaxBatch)+" items. Send the rest in another request.")
		}
		r.at = "Item " + strconv.Itoa(len(items)) + ": "
		r.fault = nil
		item, err := one(r)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
}

// object reads an object. member reads the value of each name, or says that it
// does not know it.
func (r *reader) object(known string, member func(name string) (bool, error)) error {
	if err := r.expect(jsontext.KindBeginObject, "this", "an object like "+r.shape); err != nil {
		return err
	}
	if _, err := r.dec.ReadToken(); err != nil {
		return r.malformed(err)
	}
	for {
		tok, err := r.dec.ReadToken()
		switch {
		case err != nil:
			return r.malformed(err)
		case tok.Kind() == jsontext.KindEndObject:
			return nil
		}
		name := tok.String()
		if r.verb && name == "op" { // found before
			if _, err := r.text(name); err != nil {
				return err
			}
			continue
		}
		if ok, err := member(name); err != nil {
			return err
		} else if !ok {
			return r.unknown(name, known)
		}
	}
}

// expect sees that a value of the kind comes next.
func (r *reader) expect(want jsontext.Kind, name, what string) error {
	switch got := r.dec.PeekKind(); got {
	case want:
		return nil
	case jsontext.KindInvalid:
		_, err := r.dec.ReadToken()
		return r.malformed(err)
	default:
		return refuse(ErrBadRequest, r.at+name+" must be "+what+".")
	}
}

// text reads a string.
func (r *reader) text(name string) (string, error) {
	if err := r.expect(jsontext.KindString, name, "a string"); err != nil {
		return "", err
	}
	tok, err := r.dec.ReadToken()
	if err != nil {
		return "", r.malformed(err)
	}
	return tok.String(), nil
}

// whole reads a whole number; outside the bounds it is a fault.
func (r *reader) whole(name string, low, high int64) (int64, error) {
	if err := r.expect(jsontext.KindNumber, name, "a number"); err != nil {
		return 0, err
	}
	raw, err := r.dec.ReadValue()
	if err != nil {
		return 0, r.malformed(err)
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || n < low || n > high {
		r.flaw(ErrBadRequest, name+" must be a whole number from "+strconv.FormatInt(low, 10)+" to "+strconv.FormatInt(high, 10)+".")
		return 0, nil
	}
	return n, nil
}

// octets reads standard base64 with its padding (RFC 4648 §4), and nothing else
// that would decode.
func (r *reader) octets(name string, limit int) ([]byte, error) {
	if err := r.expect(jsontext.KindString, name, "a string of base64"); err != nil {
		return nil, err
	}
	raw, err := r.dec.ReadValue()
	if err != nil {
		return nil, r.malformed(err)
	}
	text := []byte(raw[1 : len(raw)-1])
	if bytes.IndexByte(text, '\\') >= 0 {
		text, _ = jsontext.AppendUnquote(nil, raw) // it has passed the decoder
	}
	if base64.StdEncoding.DecodedLen(len(text)) > limit+2 {
		r.flaw(store.ErrTooLarge, payloadTooLong(name, limit))
		return nil, nil
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Strict().Decode(out, text)
	switch {
	case err != nil, len(text) != base64.StdEncoding.EncodedLen(n): // line breaks decode to nothing
		r.flaw(ErrBadRequest, name+" must be standard base64 with its padding and nothing between: A-Z a-z 0-9 + / and = at the end.")
		return nil, nil
	case n > limit:
		r.flaw(store.ErrTooLarge, payloadTooLong(name, limit))
		return nil, nil
	}
	return out[:n], nil
}

func payloadTooLong(name string, limit int) string {
	return name + " decodes to more than " + strconv.Itoa(limit) + " bytes. Put it as an object with POST /put and send its address."
}

// texts reads an object of strings. One more than the bound is kept, for
// whoever judges to see.
func (r *reader) texts(name string, limit int) (map[string]string, error) {
	if err := r.expect(jsontext.KindBeginObject, name, "an object of strings"); err != nil {
		return nil, err
	}
	if _, err := r.dec.ReadToken(); err != nil {
		return nil, r.malformed(err)
	}
	all := map[string]string{}
	for {
		tok, err := r.dec.ReadToken()
		switch {
		case err != nil:
			return nil, r.malformed(err)
		case tok.Kind() == jsontext.KindEndObject:
			return all, nil
		}
		key := tok.String()
		value, err := r.text("every member of " + name)
		if err != nil {
			return nil, err
		}
		if len(all) <= limit {
			all[key] = value
		}
	}
}

// flaw notes the item's first fault.
func (r *reader) flaw(kind error, detail string) {
	if r.fault == nil {
		r.fault = refuse(kind, detail)
	}
}

// malformed is what is said of bytes that are not the JSON they should be. It
// repeats a member's name, never a value.
func (r *reader) malformed(err error) error {
	var syntax *jsontext.SyntacticError
	why := "is not JSON"
	switch {
	case !utf8.Valid(r.raw):
		why = "is not UTF-8"
	case errors.Is(err, jsontext.ErrDuplicateName) && errors.As(err, &syntax):
		return refuse(ErrBadRequest, r.at+nameOf(syntax.JSONPointer.LastToken())+" came more than once. Send it once.")
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		why = "ends too early to be JSON"
	case errors.As(err, &syntax):
		why = "is malformed at byte " + strconv.FormatInt(syntax.ByteOffset, 10)
	}
	return refuse(ErrBadRequest, "The body "+why+". It is like "+r.shape+".")
}

func (r *reader) unknown(name, known string) error {
	for k := range strings.FieldsSeq(known) {
		if strings.EqualFold(k, name) {
			return refuse(ErrBadRequest, r.at+nameOf(name)+" must be written "+k+".")
		}
	}
	return refuse(ErrBadRequest, r.at+nameOf(name)+" is not known here. The members are "+strings.ReplaceAll(known, " ", ", ")+".")
}

// named repeats the name of a member where that is harmless.
func nameOf(name string) string {
	for i := range len(name) {
		if c := name[i]; !isAlnum(c) && c != '_' && c != '-' || i >= maxNamed {
			return "A member"
		}
	}
	if name == "" {
		return "A member without a name"
	}
	return name
}
