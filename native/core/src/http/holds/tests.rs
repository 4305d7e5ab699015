use reqwest::Method;
use reqwest::header::{HeaderValue, RANGE, RETRY_AFTER};

use super::refused::PATIENCE_ALONE;
use super::turns::FIRST_STEP;
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn url() -> Url {
    Url::parse("https://hub.example/api/models/a/b?secret").unwrap()
}

fn get(url: &Url, sort: Sort) -> Asked {
    Asked::of(&Method::GET, url, &HeaderMap::new(), sort)
}

fn after(seconds: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(seconds))])
}

/// An answer with this status and headers to a request that begins now.
fn answer(holds: &Holds, status: u16, headers: &HeaderMap) -> Option<Hold> {
    let status = StatusCode::from_u16(status).unwrap();
    holds.answered(&get(&url(), "listings"), Instant::now(), status, headers)
}

/// A refusal holds back what is of its sort and host, and nothing else; the error says for how long,
/// and shows no secret.
#[test]
fn a_refusal_is_for_its_host_and_sort() {
    let holds = Holds::default();
    assert!(answer(&holds, 200, &HeaderMap::new()).is_none());
    assert!(answer(&holds, 503, &HeaderMap::new()).is_none(), "a failure, and no refusal");
    assert!(holds.check(&get(&url(), "listings")).is_ok());
    let hold = answer(&holds, 429, &after("90")).unwrap();
    assert!(hold.is_named && hold.was_sent);
    let error = holds.check(&get(&url(), "listings")).unwrap_err();
    assert_eq!(error.kind(), Kind::RateLimited);
    assert!(matches!(error.context().retry_after, Some(90 | 91)), "{error:?}");
    assert!(!error.context().hold.unwrap().was_sent);
    assert!(!format!("{error:?}").contains("secret"));
    assert!(holds.check(&get(&url(), "commits")).is_ok());
    assert!(
        holds.check(&get(&Url::parse("https://hub.example:8443/").unwrap(), "listings")).is_ok()
    );
    assert!(answer(&Holds::default(), 503, &after("90")).is_some());
}

/// Those that wait have turns, one behind the other and ever faster: so many that come together aren't
/// refused together.
#[test]
fn turns_come_one_after_the_other() {
    let holds = Holds::default();
    let first = answer(&holds, 429, &after("5")).unwrap().until;
    let turn = || holds.check(&get(&url(), "listings")).unwrap_err().context().hold.unwrap().until;
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
        holds.answered(&get(&url, "listings"), begun, status, &HeaderMap::new()).unwrap().until
    });
    assert!(untils[2] - untils[0] < FIRST_STEP * 2);
    assert!(untils[0] - begun < FIRST_GUESS * 2, "the first guess, not the third");
    holds.not_refused(&get(&url, "listings"), begun, true);
    assert!(holds.check(&get(&url, "listings")).is_err());
    holds.not_refused(&get(&url, "listings"), begun + SECOND * 60, true);
    assert!(holds.check(&get(&url, "listings")).is_ok());
}

/// Without a time, the waits grow up to a bound; "now" means now, once.
#[test]
fn guesses_grow_up_to_a_bound() {
    let guesses =
        [(None, 1, 1), (None, 2, 2), (None, 3, 4), (None, 4, 8), (None, 5, 15), (None, 60, 15)];
    for (asked, refusals, seconds) in guesses.into_iter().chain([
        (Some(0), 1, 0),
        (Some(0), 2, 1),
        (Some(0), 3, 2),
        (Some(0), 60, 15),
    ]) {
        let waits: Vec<Duration> = (0..200).map(|_| wait(asked, refusals)).collect();
        let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
        let guess = SECOND * seconds;
        assert!(
            *least >= guess.mul_f64(0.75) && *most <= guess.mul_f64(1.25),
            "{least:?} {most:?}"
        );
        assert!(*most >= *least + guess.mul_f64(0.25), "those of many processes are spread");
    }
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
        holds.answered(&get(&url, CONTENT), begun, StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new())
    };
    let mut waits = Vec::new();
    for _ in 0..4 {
        // It was made as soon as it might, and has taken longer than any pause.
        age(&holds, SECOND, IDLE * 2);
        let hold = refuse(long_ago(IDLE * 2)).unwrap();
        waits.push((hold.until - Instant::now()).as_secs_f64());
    }
    for (wait, guess) in waits.into_iter().zip([1.0, 2.0, 4.0, 8.0]) {
        assert!((guess * 0.7..guess * 1.3).contains(&wait), "{wait} {guess}");
    }
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
        assert_eq!(holds.check(&get(&url(), "listings")).is_ok(), futile.is_some(), "{seconds}");
    }
}

/// A request of a file, and what comes of it.
struct Attempt {
    url: Url,
    begun: Instant,
}

impl Attempt {
    /// Now, whether it may be made or not.
    fn of(name: &str) -> Self {
        let url = Url::parse(&format!("https://hub.example/{name}")).unwrap();
        Self { url, begun: Instant::now() }
    }

    /// Now, if it may be made.
    fn now(holds: &Holds, name: &str) -> Result<Self> {
        let asked = Self::of(name);
        holds.check(&get(&asked.url, CONTENT))?;
        Ok(asked)
    }

    fn ends(self, holds: &Holds, status: u16) -> Option<Hold> {
        let status = StatusCode::from_u16(status).unwrap();
        holds.answered(&get(&self.url, CONTENT), self.begun, status, &HeaderMap::new())
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
    Attempt::now(&holds, "poison").unwrap().ends(&holds, 429).unwrap();
    for other in ["a", "b"] {
        assert!(Attempt::now(&holds, other).is_err(), "it's for all, as far as one knows");
    }
    let_time_pass(&holds);
    let error = Attempt::now(&holds, "poison").err().unwrap();
    assert!(error.context().hold.is_some_and(|hold| !hold.was_sent && hold.until > Instant::now()));
    assert!(Attempt::now(&holds, "a").unwrap().ends(&holds, 200).is_none());
    // Its turn has come.
    for held in holds.lock().values_mut() {
        held.turns = Turns::from(Instant::now());
    }
    let poison = Attempt::now(&holds, "poison").unwrap();
    let alone = poison.ends(&holds, 429).unwrap();
    assert!(alone.until > Instant::now() + SECOND && alone.futile.is_none());
    assert!(Attempt::now(&holds, "b").unwrap().ends(&holds, 200).is_none());
    assert!(Attempt::now(&holds, "poison").is_err());
}

/// Those that were refused together go as they came: none of them was refused more often.
#[test]
fn those_refused_together_keep_their_turns() {
    let holds = Holds::default();
    let asked = ["a", "b", "c"].map(|name| Attempt::now(&holds, name).unwrap());
    for one in asked {
        one.ends(&holds, 429).unwrap();
    }
    let_time_pass(&holds);
    assert!(Attempt::now(&holds, "a").is_ok());
}

/// Who is refused by itself is asked for again for a while, and no longer; and it isn't by itself any more
/// when others are refused as well.
#[test]
fn a_refusal_by_itself_has_an_end() {
    let holds = Holds::default();
    let refuse = |name: &str| {
        let url = Url::parse(&format!("https://hub.example/{name}")).unwrap();
        Attempt { url, begun: Instant::now() }.ends(&holds, 429).unwrap()
    };
    let pass = || {
        let_time_pass(&holds);
        Attempt::now(&holds, "a").unwrap().ends(&holds, 200)
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

/// What is left at the end of a download, which others have all passed by, may meet a limit that is for all:
/// who is told a time, or isn't the only one while nothing passes, is as patient as all are.
#[test]
fn a_limit_for_all_is_not_taken_for_one_of_each() {
    for (seconds, tail, futile) in [
        (Some("300"), &["a", "b"][..], None),
        (Some("300"), &["a"], None),
        (None, &["a", "b"], None),
        (None, &["a"], Some(Futile::Alone(PATIENCE_ALONE))),
        (Some("0"), &["a"], Some(Futile::Alone(PATIENCE_ALONE))),
    ] {
        let holds = Holds::default();
        let headers = seconds.map_or_else(HeaderMap::new, after);
        let asked = |name: &str| {
            let url = Url::parse(&format!("https://hub.example/{name}")).unwrap();
            Attempt { url, begun: Instant::now() }
        };
        let refuse = |one: Attempt| {
            let status = StatusCode::TOO_MANY_REQUESTS;
            holds.answered(&get(&one.url, CONTENT), one.begun, status, &headers).unwrap().futile
        };
        let together: Vec<_> = tail.iter().map(|name| asked(name)).collect();
        assert!(together.into_iter().all(|one| refuse(one).is_none()));
        assert!(asked("c").ends(&holds, 200).is_none());
        let refuse_all = || tail.iter().map(|name| refuse(asked(name))).collect::<Vec<_>>();
        assert!(refuse_all().iter().all(Option::is_none));
        let a = get(&asked("a").url, CONTENT);
        let age = |by: Duration| {
            for held in holds.lock().values_mut() {
                held.refused.age(by);
                assert!(held.refused.due_by_itself(&a.request).is_some());
            }
        };
        for _ in 0..4 {
            age(SECOND * 29);
            assert!(refuse_all().iter().all(Option::is_none));
        }
        age(SECOND * 5);
        assert_eq!(refuse_all(), vec![futile; tail.len()], "{seconds:?} {tail:?}");
        // Others have passed meanwhile, if not of late.
        if seconds.is_none() {
            assert!(asked("c").ends(&holds, 200).is_none());
            let alone = Some(Futile::Alone(PATIENCE_ALONE));
            assert_eq!(refuse_all(), vec![alone; tail.len()], "{tail:?}");
        }
        age(PATIENCE);
        assert!(refuse_all().iter().all(Option::is_some), "{seconds:?} {tail:?}");
    }
}

/// What is refused by itself, and not asked for any more, is forgotten.
#[test]
fn nothing_is_kept_for_ever() {
    let holds = Holds::default();
    Attempt::now(&holds, "poison").unwrap().ends(&holds, 429).unwrap();
    for held in holds.lock().values_mut() {
        held.refused.age(IDLE + SECOND * 5);
    }
    let_time_pass(&holds);
    Attempt::now(&holds, "a").unwrap().ends(&holds, 200);
    assert!(holds.lock().is_empty());
}

/// A request that took longer than a hold lasted, and is refused after it, waits for as long as it's told, or
/// as long as is guessed; it was no attempt after that hold, so the guess is no longer one.
#[test]
fn a_slow_request_does_not_come_back_at_once() {
    for (headers, least, most) in [(after("30"), 30.0, 32.0), (HeaderMap::new(), 0.7, 1.4)] {
        let holds = Holds::default();
        let (url, status) = (url(), StatusCode::TOO_MANY_REQUESTS);
        for _ in 0..3 {
            let begun = long_ago(SECOND * 135);
            let now = Instant::now();
            let hold = holds.answered(&get(&url, "listings"), begun, status, &headers).unwrap();
            let wait = hold.until.saturating_duration_since(now).as_secs_f64();
            assert!((least..most).contains(&wait), "{wait}");
            assert!(holds.check(&get(&url, "listings")).is_err());
            age(&holds, SECOND * 40, SECOND * 5);
            for held in holds.lock().values_mut() {
                held.turns = Turns::from(held.until);
            }
        }
    }
}

/// Those that are told "now" together still come one after the other.
#[test]
fn now_is_not_for_all_at_once() {
    let holds = Holds::default();
    let (begun, status) = (Instant::now(), StatusCode::TOO_MANY_REQUESTS);
    let untils = ["a", "b", "c"].map(|name| {
        let url = Attempt::of(name).url;
        holds.answered(&get(&url, CONTENT), begun, status, &after("0")).unwrap().until
    });
    assert!(untils[1] - untils[0] >= FIRST_STEP && untils[2] > untils[1]);
}

/// Who is told of a longer time has it from the server, whoever was told before.
#[test]
fn a_longer_time_is_for_all() {
    let holds = Holds::default();
    let (url, begun) = (url(), Instant::now());
    let refuse = |headers: &HeaderMap| {
        let status = StatusCode::TOO_MANY_REQUESTS;
        holds.answered(&get(&url, "listings"), begun, status, headers).unwrap()
    };
    assert!(!refuse(&HeaderMap::new()).is_named);
    for headers in [after("300"), after("5"), HeaderMap::new()] {
        let hold = refuse(&headers);
        assert!(hold.is_named && hold.until >= begun + SECOND * 300);
        let error = holds.check(&get(&url, "listings")).unwrap_err();
        assert!(error.context().hold.unwrap().is_named);
        assert!(matches!(error.context().retry_after, Some(299..=302)), "{error:?}");
    }
}

/// Whoever is let through has content, or is told that there is nothing new. A redirect to the same server
/// may lead to where the limit is, and a refusal for other reasons may come before it's looked at.
#[test]
fn not_every_answer_passes() {
    let here = |status| (status, Some("https://hub.example/there"));
    let elsewhere = (302, Some("https://cdn.example/there"));
    for ((status, location), is_for_all) in [
        (here(307), true),
        (here(302), true),
        ((307, Some("/there")), true),
        ((307, None), true),
        ((401, None), true),
        ((403, None), true),
        ((404, None), true),
        (elsewhere, false),
        ((200, None), false),
        ((206, None), false),
        ((304, None), false),
        ((416, None), false),
    ] {
        let holds = Holds::default();
        Attempt::now(&holds, "there").unwrap().ends(&holds, 429).unwrap();
        let_time_pass(&holds);
        let other = Attempt::now(&holds, "a").unwrap();
        let mut headers = HeaderMap::new();
        if let Some(location) = location {
            headers.insert(LOCATION, HeaderValue::from_static(location));
        }
        let status = StatusCode::from_u16(status).unwrap();
        assert!(holds.answered(&get(&other.url, CONTENT), other.begun, status, &headers).is_none());
        Attempt { begun: Instant::now(), ..Attempt::of("there") }.ends(&holds, 429).unwrap();
        assert_eq!(Attempt::now(&holds, "b").is_err(), is_for_all, "{status} {location:?}");
    }
}

/// What a request that is refused by itself was told is its own, and not what all were told.
#[test]
fn who_is_refused_by_itself_keeps_what_it_was_told() {
    let holds = Holds::default();
    Attempt::now(&holds, "poison").unwrap().ends(&holds, 429).unwrap();
    let_time_pass(&holds);
    Attempt::of("a").ends(&holds, 200);
    let poison = Attempt::of("poison");
    let status = StatusCode::SERVICE_UNAVAILABLE;
    holds.answered(&get(&poison.url, CONTENT), poison.begun, status, &after("40")).unwrap();
    let error = Attempt::now(&holds, "poison").err().unwrap();
    assert_eq!((error.kind(), error.context().http_status), (Kind::ServerError, Some(503)));
    assert!(error.context().hold.unwrap().is_named);
    assert!(Attempt::now(&holds, "a").is_ok());
}

/// Whoever still waits is known to wait, however long ago it was refused.
#[test]
fn who_is_given_another_turn_is_not_forgotten() {
    let holds = Holds::default();
    let poison = Attempt::now(&holds, "poison").unwrap();
    let status = StatusCode::TOO_MANY_REQUESTS;
    holds.answered(&get(&poison.url, CONTENT), poison.begun, status, &after("90")).unwrap();
    for held in holds.lock().values_mut() {
        held.refused.age(SECOND * 95 + IDLE);
    }
    assert!(Attempt::now(&holds, "poison").is_err());
    let_time_pass(&holds);
    Attempt::of("a").ends(&holds, 200);
    Attempt::of("poison").ends(&holds, 429).unwrap();
    assert!(Attempt::now(&holds, "b").is_ok(), "others have passed by it");
}

/// A quota's refusal holds back nobody, and lets nobody go whom another one holds back.
#[test]
fn a_quota_releases_what_it_held() {
    for (other, is_held) in
        [(Some(after("300")), true), (Some(HeaderMap::new()), true), (None, false)]
    {
        let holds = Holds::default();
        let (a, quota) = (Attempt::of("a"), Attempt::of("quota"));
        if let Some(headers) = other {
            let status = StatusCode::TOO_MANY_REQUESTS;
            holds.answered(&get(&a.url, CONTENT), a.begun, status, &headers).unwrap();
        }
        let url = quota.url.clone();
        quota.ends(&holds, 429).unwrap();
        holds.release(&get(&url, CONTENT));
        assert_eq!(Attempt::now(&holds, "b").is_err(), is_held);
        if !is_held {
            assert!(Attempt::now(&holds, "quota").is_ok());
            assert!(holds.lock().is_empty());
        }
    }
}

/// What is made again is the same, however it's signed; pages, ranges and methods are refused each for itself.
#[test]
fn what_shares_a_path_is_told_apart() {
    let asked = |method, query: &str, range: &'static str, sort| {
        let url = Url::parse(&format!("https://hub.example/x?{query}")).unwrap();
        let headers = HeaderMap::from_iter([(RANGE, HeaderValue::from_static(range))]);
        Asked::of(&method, &url, &headers, sort)
    };
    let (get, put) = (Method::GET, Method::PUT);
    let first = asked(get.clone(), "a", "bytes=0-9", CONTENT);
    let second = asked(get.clone(), "a", "bytes=10-", CONTENT);
    for (refused, other, are_same) in [
        (&first, asked(get.clone(), "signed=anew", "bytes=0-9", CONTENT), true),
        (&first, second.clone(), false),
        (&first, asked(Method::HEAD, "a", "bytes=0-9", CONTENT), false),
        (&asked(get.clone(), "cursor=2", "", "lists"), asked(get, "cursor=1", "", "lists"), false),
        (&asked(put.clone(), "part=2", "", CONTENT), asked(put, "part=1", "", CONTENT), false),
    ] {
        assert_eq!(refused.request == other.request, are_same, "{refused:?} {other:?}");
        if are_same {
            continue;
        }
        let holds = Holds::default();
        let ends = |asked: &Asked, status| {
            let status = StatusCode::from_u16(status).unwrap();
            holds.answered(asked, Instant::now(), status, &HeaderMap::new())
        };
        ends(refused, 429).unwrap();
        let_time_pass(&holds);
        ends(&other, 200);
        assert_eq!(ends(refused, 429).unwrap().futile, None);
        // It goes on passing, which ends nothing for the other.
        ends(&other, 200);
        for held in holds.lock().values_mut() {
            held.refused.age(PATIENCE_ALONE + SECOND);
        }
        let alone = Some(Futile::Alone(PATIENCE_ALONE));
        assert_eq!(ends(refused, 429).unwrap().futile, alone, "{refused:?} {other:?}");
    }
    // The parts of one file that is refused aren't several that a limit for all would have in common.
    let holds = Holds::default();
    let begun = Instant::now();
    let refuse = |asked: &Asked, begun| {
        let status = StatusCode::TOO_MANY_REQUESTS;
        holds.answered(asked, begun, status, &HeaderMap::new()).unwrap().futile
    };
    assert!([&first, &second].map(|part| refuse(part, begun)).iter().all(Option::is_none));
    Attempt::of("a").ends(&holds, 200);
    assert!([&first, &second].map(|part| refuse(part, begun)).iter().all(Option::is_none));
    for held in holds.lock().values_mut() {
        held.refused.age(PATIENCE_ALONE + SECOND);
    }
    assert_eq!(refuse(&first, Instant::now()), Some(Futile::Alone(PATIENCE_ALONE)));
}
