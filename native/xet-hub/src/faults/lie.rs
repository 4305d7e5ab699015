//! Reconstructions that lie: sound JSON of the right form that describes another file, or none.
//!
//! Works on the JSON of both versions of the answer: `xorbs` (2) and `fetch_info` (1).

use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::content::failed;

/// What a reconstruction says that isn't so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Lie {
    /// The first term is a byte longer than its chunks.
    Longer,
    /// The first term is a byte shorter than its chunks.
    Shorter,
    /// The first term is almost 4 GiB long.
    Enormous,
    /// The first term has no bytes.
    NoLength,
    /// The first term's chunks begin one later.
    Range,
    /// The first term's chunks end before they begin.
    BackwardsRange,
    /// The first term's chunks are others than those that the URL fetches.
    RangeWithoutUrl,
    /// The file begins one byte further on in the first term.
    Offset,
    /// The file begins behind the end of everything.
    EnormousOffset,
    /// The terms come in the opposite order. Needs two.
    SwapTerms,
    /// The last term is missing.
    DropTerm,
    /// The last term is there twice.
    RepeatTerm,
    /// There are no terms.
    NoTerms,
    /// The second term begins where the first does, and so do all that follow. Needs two.
    Overlap,
    /// The first term's xorb has no URL.
    MissingXorb,
    /// Two xorbs have each other's URLs. Needs two.
    OtherXorb,
    /// The URL fetches all but the last byte of its chunks.
    FewerBytes,
    /// The URL fetches bytes that begin one later.
    OtherBytes,
    /// The URL fetches a byte range of 16 EiB.
    EnormousBytes,
    /// The URL is one of this machine's files.
    FileUrl,
    /// The URL is not a URL.
    NoUrl,
}

impl Lie {
    /// The response with the lie in it. A response that the lie can't be told in becomes a 599, so
    /// that a test doesn't believe that it was told.
    pub(crate) async fn told_in(self, response: Response) -> Response {
        let (mut parts, body) = response.into_parts();
        let truth = to_bytes(body, usize::MAX).await.ok();
        let truth = truth.and_then(|body| serde_json::from_slice::<Value>(&body).ok());
        let Some(mut answer) = truth else {
            return failed("only a reconstruction can lie");
        };
        let before = answer.clone();
        if self.tell(&mut answer).is_none() || answer == before {
            return failed("this reconstruction is too simple for this lie");
        }
        let body = answer.to_string();
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        Response::from_parts(parts, Body::from(body))
    }

    /// `None` if the answer isn't of a form in which this can be told.
    fn tell(self, answer: &mut Value) -> Option<()> {
        match self {
            Self::Longer => add(first_term(answer)?.get_mut("unpacked_length")?, 1),
            Self::Shorter => add(first_term(answer)?.get_mut("unpacked_length")?, -1),
            Self::Enormous => set(first_term(answer)?, "unpacked_length", json!(u32::MAX - 1)),
            Self::NoLength => set(first_term(answer)?, "unpacked_length", json!(0)),
            Self::Range => add(first_term(answer)?.pointer_mut("/range/start")?, 1),
            Self::BackwardsRange => {
                let end = first_term(answer)?.pointer("/range/end")?.as_u64()?;
                set(first_term(answer)?.get_mut("range")?, "start", json!(end + 1))
            }
            Self::RangeWithoutUrl => add(first_term(answer)?.pointer_mut("/range/end")?, 1),
            Self::Offset => add(answer.get_mut("offset_into_first_range")?, 1),
            Self::EnormousOffset => set(answer, "offset_into_first_range", json!(u64::MAX)),
            Self::SwapTerms => terms(answer).filter(|terms| terms.len() > 1).map(|t| t.reverse()),
            Self::DropTerm => terms(answer)?.pop().map(drop),
            Self::RepeatTerm => {
                let last = terms(answer)?.last()?.clone();
                terms(answer)?.push(last);
                Some(())
            }
            Self::NoTerms => {
                terms(answer)?.clear();
                Some(())
            }
            Self::Overlap => {
                let first = terms(answer)?.first()?.clone();
                *terms(answer)?.get_mut(1)? = first;
                Some(())
            }
            Self::MissingXorb => {
                let xorb = first_term(answer)?.get("hash")?.as_str()?.to_owned();
                sources(answer)?.as_object_mut()?.remove(&xorb).map(drop)
            }
            Self::OtherXorb => {
                let mut urls = urls(answer)?;
                let [first, .., last] = urls.as_mut_slice() else { return None };
                std::mem::swap(*first, *last);
                Some(())
            }
            Self::FewerBytes => {
                bytes(answer)?.into_iter().try_for_each(|b| add(b.get_mut("end")?, -1))
            }
            Self::OtherBytes => bytes(answer)?.into_iter().try_for_each(|bytes| {
                add(bytes.get_mut("start")?, 1)?;
                add(bytes.get_mut("end")?, 1)
            }),
            Self::EnormousBytes => {
                bytes(answer)?.into_iter().try_for_each(|b| set(b, "end", json!(u64::MAX)))
            }
            Self::FileUrl => {
                urls(answer)?.into_iter().for_each(|url| *url = json!("file:///etc/passwd"));
                Some(())
            }
            Self::NoUrl => {
                urls(answer)?.into_iter().for_each(|url| *url = json!("over there"));
                Some(())
            }
        }
    }
}

fn terms(answer: &mut Value) -> Option<&mut Vec<Value>> {
    answer.get_mut("terms")?.as_array_mut()
}

fn first_term(answer: &mut Value) -> Option<&mut Value> {
    terms(answer)?.first_mut()
}

/// From xorbs to where they are fetched, in either version.
fn sources(answer: &mut Value) -> Option<&mut Value> {
    let name = if answer.get("xorbs").is_some() { "xorbs" } else { "fetch_info" };
    answer.get_mut(name)
}

fn fetches(answer: &mut Value) -> Option<Vec<&mut Value>> {
    let lists = sources(answer)?.as_object_mut()?.values_mut();
    Some(lists.filter_map(Value::as_array_mut).flatten().collect())
}

fn urls(answer: &mut Value) -> Option<Vec<&mut Value>> {
    fetches(answer)?.into_iter().map(|fetch| fetch.get_mut("url")).collect()
}

/// The byte ranges of all URLs.
fn bytes(answer: &mut Value) -> Option<Vec<&mut Value>> {
    let mut found = Vec::new();
    for fetch in fetches(answer)? {
        if fetch.get("url_range").is_some() {
            found.push(fetch.get_mut("url_range")?);
        } else {
            let ranges = fetch.get_mut("ranges")?.as_array_mut()?;
            found.extend(ranges.iter_mut().filter_map(|range| range.get_mut("bytes")));
        }
    }
    Some(found)
}

fn set(value: &mut Value, name: &str, new: Value) -> Option<()> {
    value.get_mut(name).map(|old| *old = new)
}

fn add(number: &mut Value, by: i64) -> Option<()> {
    *number = json!(number.as_u64()?.checked_add_signed(by)?);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&str; 21] = [
        "longer",
        "shorter",
        "enormous",
        "no_length",
        "range",
        "backwards_range",
        "range_without_url",
        "offset",
        "enormous_offset",
        "swap_terms",
        "drop_term",
        "repeat_term",
        "no_terms",
        "overlap",
        "missing_xorb",
        "other_xorb",
        "fewer_bytes",
        "other_bytes",
        "enormous_bytes",
        "file_url",
        "no_url",
    ];

    fn versions() -> [Value; 2] {
        let terms = json!([
            {"hash": "aa", "unpacked_length": 100, "range": {"start": 0, "end": 2}},
            {"hash": "bb", "unpacked_length": 50, "range": {"start": 5, "end": 6}}]);
        let fetch = |url: &str| {
            json!([{"url": url, "ranges": [
                {"chunks": {"start": 0, "end": 2}, "bytes": {"start": 0, "end": 99}}]}])
        };
        let old = |url: &str| {
            json!([{"url": url, "range": {"start": 0, "end": 2},
                "url_range": {"start": 0, "end": 99}}])
        };
        [
            json!({"offset_into_first_range": 0, "terms": terms,
                "xorbs": {"aa": fetch("http://s/a"), "bb": fetch("http://s/b")}}),
            json!({"offset_into_first_range": 0, "terms": terms,
                "fetch_info": {"aa": old("http://s/a"), "bb": old("http://s/b")}}),
        ]
    }

    async fn told(lie: &str, truth: &Value) -> (u16, Option<Value>) {
        let lie: Lie = serde_json::from_value(json!(lie)).unwrap();
        let response = lie.told_in(Response::new(Body::from(truth.to_string()))).await;
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&body).ok())
    }

    /// Each lie changes an answer of either version, and each in its own way.
    #[tokio::test]
    async fn every_lie_is_another_answer() {
        for truth in versions() {
            let mut answers = vec![truth.clone()];
            for lie in ALL {
                let (status, answer) = told(lie, &truth).await;
                assert_eq!(status, 200, "{lie}");
                let answer = answer.unwrap();
                assert!(!answers.contains(&answer), "{lie}");
                answers.push(answer);
            }
        }
    }

    /// What can't be told is an error that no client mistakes for a reconstruction.
    #[tokio::test]
    async fn a_lie_that_cannot_be_told_is_said() {
        let [mut truth, _] = versions();
        terms(&mut truth).unwrap().pop();
        for lie in ["swap_terms", "overlap"] {
            assert_eq!(told(lie, &truth).await.0, 599, "{lie}");
        }
        assert_eq!(told("longer", &json!("no reconstruction")).await.0, 599);
    }
}
