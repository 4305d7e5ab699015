package xet

import (
	"math"
	"unsafe"
)

// What layout.go copies reports with.

// newSlice copies an array of pointers, in its order.
func newSlice[Native, Value any](
	array **Native, count int, value func(*Native) Value,
) []Value {
	values := make([]Value, 0, count)
	for _, native := range unsafe.Slice(array, count) {
		values = append(values, value(native))
	}
	return values
}

// orUnknown returns -1 for a number whose greatest value means that it isn't known.
func orUnknown[Native ~uint64](number Native) int64 {
	if uint64(number) > math.MaxInt64 {
		return -1
	}
	return int64(number)
}
