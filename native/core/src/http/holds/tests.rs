use reqwest::header::{HeaderValue, RETRY_AFTER};

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

/// A server is waited for for hours, and no longer; one that is asked again after a pause begins anew.
#[test]
fn patience_ends_and_begins_anew() {
    let holds = Holds::default();
    assert!(answer(&holds, 429, &HeaderMap::new()).is_some());
    let long_ago = |past: Duration| Instant::now().checked_sub(past).unwrap();
    let age = |until: Instant| {
        for held in holds.lock().values_mut() {
            (held.since, held.until) = (long_ago(PATIENCE + SECOND), until);
        }
    };
    age(Instant::now());
    assert!(answer(&holds, 429, &HeaderMap::new()).is_none());
    age(long_ago(IDLE + SECOND));
    assert!(answer(&holds, 429, &HeaderMap::new()).is_some());
    assert!(answer(&holds, 429, &HeaderMap::new()).is_some());
}
