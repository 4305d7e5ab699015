package omecompat

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	xet "github.com/xet-ffi/xet-ffi/go"
)

// XetError is what every function of this package returns when it fails, but for those of Config;
// errors.As finds it.
type XetError struct {
	// Code is one of package xet's codes as a number: int(xet.CodeNotFound), say. 1 to 8 and 99 mean what
	// they have always meant, from 9 on are finer ones: 9 a timeout, 10 a rate limit, 12 a full disk.
	Code int
	// Message is one sentence: what failed, on which repo and file, and the way out.
	Message string
	// Details is JSON: the fields of xet.Details; empty where nothing is known.
	Details string

	cause *xet.Error
}

// rateLimit is what callers look for in the text of an error.
const rateLimit = "rate limit"

// Error leaves the details out: numbers in them would be taken for an HTTP status by who looks for one in
// the text. That of a rate limit has the words "rate limit".
func (e *XetError) Error() string {
	text := fmt.Sprintf("xet error %d: %s", e.Code, e.Message)
	if e.Code == int(xet.CodeRateLimited) && !strings.Contains(text, rateLimit) {
		text += " (" + rateLimit + ")"
	}
	return text
}

// Unwrap returns the error of package xet, so that errors.Is knows xet.ErrGatedRepo, fs.ErrNotExist,
// context.Canceled and the others that it documents.
func (e *XetError) Unwrap() error {
	if e.cause == nil { // or it would be an error that isn't nil
		return nil
	}
	return e.cause
}

// IsAuthFailed says whether the token is missing, unknown or expired.
func (e *XetError) IsAuthFailed() bool { return e.Code == int(xet.CodeAuthFailed) }

// IsAuthFailedError says whether an error is, or wraps, one whose token is missing, unknown or expired.
func IsAuthFailedError(err error) bool {
	var failure *XetError
	return errors.As(err, &failure) && failure.IsAuthFailed()
}

// convert returns an error of package xet as callers of this one know errors.
func convert(err error) error {
	var cause *xet.Error
	if !errors.As(err, &cause) {
		return err
	}
	failure := &XetError{Code: int(cause.Code), Message: cause.Message, cause: cause}
	details, err := json.Marshal(cause.Details)
	if err != nil {
		failure.Message += fmt.Sprintf(" (and its details can't be written: %v)", err)
	} else if string(details) != "{}" {
		failure.Details = string(details)
	}
	return failure
}

// invalid returns the error for an argument that can't be used, as package xet has it.
func invalid(field, problem string) error {
	return convert(&xet.Error{
		Code:    xet.CodeInvalidConfig,
		Message: field + ": " + problem,
		Details: xet.Details{Kind: "invalid_argument", Field: field},
	})
}
