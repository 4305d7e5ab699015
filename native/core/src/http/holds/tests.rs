use reqwest::header::{HeaderValue, RETRY_AFTER};

use super::refused::PATIENCE_ALONE;
use super::turns::FIRST_STEP;
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn url() -> Url {
    Url::parse("https://hub.example/api/models/a/b?secret").unwrap()
}

fn after(seconds: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(seconds))])
}

/// An answer with this status and headers to a request that begins now.
fn answer(holds: &Holds, status: u16, headers: &HeaderMap) -> Option<Hold> {
    let status = StatusCode::from_u16(status).unwrap();
    holds.answered((&url(), "listings"), Instant::now(), status, headers)
}

/// A refusal holds back what is of its sort and host, and nothing else; the error says for how long,
/// and shows no secret.
#[test]
fn a_refusal_is_for_its_host_and_sort() {
    let holds = Holds::default();
    assert!(answer(&holds, 200, &HeaderMap::new()).is_none());
    assert!(answer(&holds, 503, &HeaderMap::new()).is_none(), "a failure, and no refusal");
    assert!(holds.check(&url(), "listings").is_ok());
    let hold = answer(&holds, 429, &after("90")).unwrap();
    assert!(hold.is_named && hold.was_sent);
    let error = holds.check(&url(), "listings").unwrap_err();
    assert_eq!(error.kind(), Kind::RateLimited);
    assert!(matches!(error.context().retry_after, Some(90 | 91)), "{error:?}");
    assert!(!error.context().hold.unwrap().was_sent);
    assert!(!format!("{error:?}").contains("secret"));
    assert!(holds.check(&url(), "commits").is_ok());
    assert!(holds.check(&Url::parse("https://hub.example:8443/").unwrap(), "listings").is_ok());
    assert!(answer(&Holds::default(), 503, &after("90")).is_some());
}

/// Those that wait have turns, one behind the other and ever faster: so many that come together aren't
/// refused together.
#[test]
fn turns_come_one_after_the_other() {
    let holds = Holds::default();
    let first = answer(&holds, 429, &after("5")).unwrap().until;
    let turn = || holds.check(&url(), "listings").unwrap_err().context().hold.unwrap().until;
    let turns: Vec<Instant> =
        std::iter::once(first).chain(std::iter::from_fn(|| Some(turn())).take(200)).collect();
    let steps: Vec<Duration> = turns.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(steps[0], FIRST_STEP);
    assert!(steps.is_sorted_by(|a, b| a >= b));
    assert!(*turns.last().unwrap() - first <= SECOND * 2);
}

/// Of many requests that were on their way together, one refusal counts; the others wait as long, and
/// what was let through before it doesn't end it.
#[test]
fn what_was_on_its_way_counts_once() {
    let holds = Holds::default();
    let begun = Instant::now();
    let (url, status) = (url(), StatusCode::TOO_MANY_REQUESTS);
    let untils = [(); 3].map(|()| {
        holds.answered((&url, "listings"), begun, status, &HeaderMap::new()).unwrap().until
    });
    assert!(untils[2] - untils[0] < FIRST_STEP * 2);
    assert!(untils[0] - begun < FIRST_GUESS * 2, "the first guess, not the third");
    holds.passed((&url, "listings"), begun);
    assert!(holds.check(&url, "listings").is_err());
    holds.passed((&url, "listings"), begun + SECOND * 60);
    assert!(holds.check(&url, "listings").is_ok());
}

/// Without a time, the waits grow up to a bound; "now" means now, once.
#[test]
fn guesses_grow_up_to_a_bound() {
    let guessed = [1, 2, 3, 4, 5, 60].map(|refusals| wait(None, refusals).as_secs());
    assert_eq!(guessed, [1, 2, 4, 8, 15, 15]);
    let now = [1, 2, 3, 60].map(|refusals| wait(Some(0), refusals).as_secs());
    assert_eq!(now, [0, 1, 2, 15]);
    for seconds in [1, 90, 86_400] {
        let wait = wait(Some(seconds), 9);
        assert!((seconds..=seconds + 1).contains(&wait.as_secs()), "{wait:?}");
    }
    let hold = answer(&Holds::default(), 429, &after("0")).unwrap();
    assert!(!hold.is_named, "it is no time that could be beyond anything");
    let later = Instant::now().checked_add(wait(Some(u64::MAX), 1));
    assert!(later.is_some(), "no clock ends before that");
}

fn long_ago(past: Duration) -> Instant {
    Instant::now().checked_sub(past).unwrap()
}

/// Makes what is held look as old as this.
fn age(holds: &Holds, since: Duration, until: Duration) {
    for held in holds.lock().values_mut() {
        (held.since, held.until) = (long_ago(since), long_ago(until));
    }
}

/// A server is waited for for hours, and no longer; one that is asked again after a pause begins anew.
#[test]
fn patience_ends_and_begins_anew() {
    let holds = Holds::default();
    let refuse = || answer(&holds, 429, &HeaderMap::new()).unwrap();
    assert_eq!(refuse().futile, None);
    age(&holds, PATIENCE + SECOND, Duration::ZERO);
    assert_eq!(refuse().futile, Some(Futile::Lasting(PATIENCE)));
    age(&holds, PATIENCE + SECOND, IDLE + SECOND);
    assert_eq!(refuse().futile, None);
    assert_eq!(refuse().futile, None);
}

/// A pause is one before a request: one that takes long to be refused, as content does that is sent first,
/// goes on where the one before it was, and its patience ends.
#[test]
fn a_slow_refusal_is_no_pause() {
    let holds = Holds::default();
    let url = url();
    let refuse = |begun| {
        holds.answered((&url, CONTENT), begun, StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new())
    };
    let mut waits = Vec::new();
    for _ in 0..4 {
        // It was made as soon as it might, and has taken longer than any pause.
        age(&holds, SECOND, IDLE * 2);
        let hold = refuse(long_ago(IDLE * 2)).unwrap();
        waits.push((hold.until - Instant::now()).as_secs_f64().round());
    }
    assert_eq!(waits, [1.0, 2.0, 4.0, 8.0]);
    age(&holds, PATIENCE + SECOND, IDLE * 2);
    assert_eq!(refuse(long_ago(IDLE * 2)).unwrap().futile, Some(Futile::Lasting(PATIENCE)));
}

/// A time that is longer than anyone's patience is an end for who is refused, and holds back nobody.
#[test]
fn a_time_beyond_patience_is_not_waited_for() {
    let too_long = Some(Futile::TooLong(PATIENCE));
    for (status, seconds, futile) in [
        (429, "7200", None),
        (429, "7201", too_long),
        (429, "18446744073709551615", too_long),
        (503, "864000", too_long),
    ] {
        let holds = Holds::default();
        assert_eq!(answer(&holds, status, &after(seconds)).unwrap().futile, futile, "{seconds}");
        assert_eq!(holds.check(&url(), "listings").is_ok(), futile.is_some(), "{seconds}");
    }
}

/// A request of a file, and what comes of it.
struct Asked {
    url: Url,
    begun: Instant,
}

impl Asked {
    /// Now, if it may be made.
    fn now(holds: &Holds, name: &str) -> Result<Self> {
        let url = Url::parse(&format!("https://hub.example/{name}")).unwrap();
        holds.check(&url, CONTENT)?;
        Ok(Self { url, begun: Instant::now() })
    }

    fn ends(self, holds: &Holds, status: u16) -> Option<Hold> {
        let status = StatusCode::from_u16(status).unwrap();
        holds.answered((&self.url, CONTENT), self.begun, status, &HeaderMap::new())
    }
}

/// Has the waits end of all that are held.
fn let_time_pass(holds: &Holds) {
    age(holds, SECOND, Duration::ZERO);
}

/// A request that was refused goes after the others that wait, so that it isn't the one that speaks for all each
/// time; and once others have passed, it's refused by itself, and holds back nobody.
#[test]
fn one_that_is_always_refused_holds_back_nobody() {
    let holds = Holds::default();
    Asked::now(&holds, "poison").unwrap().ends(&holds, 429).unwrap();
    for other in ["a", "b"] {
        assert!(Asked::now(&holds, other).is_err(), "it's for all, as far as one knows");
    }
    let_time_pass(&holds);
    let error = Asked::now(&holds, "poison").err().unwrap();
    assert!(error.context().hold.is_some_and(|hold| !hold.was_sent && hold.until > Instant::now()));
    assert!(Asked::now(&holds, "a").unwrap().ends(&holds, 200).is_none());
    // Its turn has come.
    for held in holds.lock().values_mut() {
        held.turns = Turns::from(Instant::now());
    }
    let poison = Asked::now(&holds, "poison").unwrap();
    let alone = poison.ends(&holds, 429).unwrap();
    assert!(alone.until > Instant::now() + SECOND && alone.futile.is_none());
    assert!(Asked::now(&holds, "b").unwrap().ends(&holds, 200).is_none());
    assert!(Asked::now(&holds, "poison").is_err());
}

/// Those that were refused together go as they came: none of them was refused more often.
#[test]
fn those_refused_together_keep_their_turns() {
    let holds = Holds::default();
    let asked = ["a", "b", "c"].map(|name| Asked::now(&holds, name).unwrap());
    for one in asked {
        one.ends(&holds, 429).unwrap();
    }
    let_time_pass(&holds);
    assert!(Asked::now(&holds, "a").is_ok());
}

/// Who is refused by itself is asked for again for a while, and no longer; and it isn't by itself any more
/// when others are refused as well.
#[test]
fn a_refusal_by_itself_has_an_end() {
    let holds = Holds::default();
    let refuse = |name: &str| {
        let url = Url::parse(&format!("https://hub.example/{name}")).unwrap();
        Asked { url, begun: Instant::now() }.ends(&holds, 429).unwrap()
    };
    let pass = || {
        let_time_pass(&holds);
        Asked::now(&holds, "a").unwrap().ends(&holds, 200)
    };
    let wait_alone = || {
        for held in holds.lock().values_mut() {
            held.refused.age(PATIENCE_ALONE + SECOND);
        }
    };
    refuse("poison");
    pass();
    assert_eq!(refuse("poison").futile, None);
    wait_alone();
    assert_eq!(refuse("poison").futile, Some(Futile::Alone(PATIENCE_ALONE)));
    refuse("b");
    assert_eq!(refuse("poison").futile, None);
    pass();
    assert_eq!(refuse("poison").futile, None);
}

/// What is refused by itself, and not asked for any more, is forgotten.
#[test]
fn nothing_is_kept_for_ever() {
    let holds = Holds::default();
    Asked::now(&holds, "poison").unwrap().ends(&holds, 429).unwrap();
    for held in holds.lock().values_mut() {
        held.refused.age(IDLE + SECOND * 5);
    }
    let_time_pass(&holds);
    Asked::now(&holds, "a").unwrap().ends(&holds, 200);
    assert!(holds.lock().is_empty());
}
