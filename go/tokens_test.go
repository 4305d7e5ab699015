package xet

import (
	"context"
	"errors"
	"testing"
	"time"
)

// fetch waits for what the function says.
func fetch(t *testing.T, tokens *tokens) *question {
	t.Helper()
	for {
		if answer := tokens.get(); answer != nil {
			return answer
		}
	}
}

// An answer that nobody has waited for, since the call that asked was cancelled, is none for a later
// call: it may have expired, or be an error of the past.
func TestUnclaimedAnswers(t *testing.T) {
	asked := 0
	tokens := newTokens(t.Context(), func(context.Context) (string, time.Time, error) {
		if asked++; asked == 1 {
			return "", time.Time{}, errors.New("an error of the past")
		}
		return "token", time.Time{}, nil
	})
	defer tokens.leave()
	first := tokens.ask()
	<-first.answered
	if again := tokens.ask(); again != first {
		t.Error("an answer of just now was thrown away")
	}
	first.ended = first.ended.Add(-2 * unclaimed)
	if answer := fetch(t, tokens); answer.token != "token" || answer.err != nil || asked != 2 {
		t.Errorf("%+v, asked %d times", answer, asked)
	}
}

// A function that doesn't heed its context is given up, and the next question is another one.
func TestTokenFuncHangs(t *testing.T) {
	release, asked := make(chan struct{}), 0
	tokens := newTokens(t.Context(), func(context.Context) (string, time.Time, error) {
		asked++ // one at a time, but for those that were given up
		<-release
		return "token", time.Time{}, nil
	})
	defer tokens.leave()
	first := tokens.ask()
	if answer := tokens.get(); answer != nil {
		t.Errorf("%+v", answer)
	}
	first.begun = first.begun.Add(-longestQuestion - grace)
	if answer := tokens.get(); answer == nil || answer.err == nil {
		t.Errorf("%+v", answer)
	}
	close(release)
	<-first.answered
	if answer := fetch(t, tokens); answer == first || answer.token != "token" || asked != 2 {
		t.Errorf("%+v, asked %d times", answer, asked)
	}
}
