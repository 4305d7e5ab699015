//! `X-HF-Warning: topic; text`: what the Hub wants users to read, once per topic.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use reqwest::header::HeaderMap;

use crate::config::Token;
use crate::hub::refusal::quotable;

/// The topics that were logged already.
#[derive(Default)]
pub(super) struct Warnings(Mutex<HashSet<String>>);

impl Warnings {
    /// More topics than this come from no honest server.
    const MAX_TOPICS: usize = 100;

    /// Logs the warnings of an answer whose topics are new.
    pub(super) fn log(&self, headers: &HeaderMap, token: Option<&Token>) {
        for warning in headers.get_all("x-hf-warning") {
            let warning = String::from_utf8_lossy(warning.as_bytes());
            if let Some(text) = self.first_of_topic(&warning) {
                tracing::warn!("the Hub warns: {}", quotable(text, token));
            }
        }
    }

    /// The text of a warning if its topic is new. Without a ';' the topic is empty.
    fn first_of_topic<'a>(&self, warning: &'a str) -> Option<&'a str> {
        let (topic, text) = warning.split_once(';').unwrap_or(("", warning));
        let text = text.trim();
        let mut topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = !text.is_empty()
            && topics.len() < Self::MAX_TOPICS
            && topics.insert(topic.trim().to_owned());
        new.then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each topic is logged once, an empty text never, and no flood of topics fills our memory.
    #[test]
    fn each_topic_is_logged_once() {
        let warnings = Warnings::default();
        for (warning, expected) in [
            ("deprecated; Please upgrade.", Some("Please upgrade.")),
            ("deprecated; Really, please upgrade.", None),
            ("quota;", None),
            ("quota; Nearly full; be quick.", Some("Nearly full; be quick.")),
            ("no topic", Some("no topic")),
            ("no topic again", None),
        ] {
            assert_eq!(warnings.first_of_topic(warning), expected, "{warning}");
        }
        let logged = (0..1000).filter(|n| warnings.first_of_topic(&format!("{n}; x")).is_some());
        assert_eq!(logged.count(), Warnings::MAX_TOPICS - 3);
    }
}
