package pebble_test

import (
	"context"
	"errors"
	"math/rand/v2"
)

var timeless = context.Background()

var errSource = errors.New("source failed")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errSource }

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func testRNG() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }
