//! Whether the CAS is still worth asking about the files of a cache.

use crate::config::Config;
use crate::model::error::{Error, Kind, Result};

/// Files in a row of which the CAS can't be asked, each with all of its retries, until it's asked no more.
const FAILURES: u32 = 3;

/// Whether the CAS is asked, and how that went.
pub(super) struct Asking {
    is_wanted: bool,
    /// Files in a row of which it couldn't be asked for now, and why not.
    failures: u32,
    last: Option<Error>,
}

impl Asking {
    pub(super) fn new(config: &Config) -> Self {
        let is_wanted = config.transport.uses_xet() && !config.offline;
        Self { is_wanted, failures: 0, last: None }
    }

    /// Fails with the reason why it isn't asked; without one if nobody wants that.
    pub(super) fn allowed(&self) -> std::result::Result<(), Option<String>> {
        match &self.last {
            _ if !self.is_wanted => Err(None),
            Some(error) if self.failures >= FAILURES => {
                Err(Some(format!("not asked about, after {FAILURES} others failed: {error}")))
            }
            _ => Ok(()),
        }
    }

    /// Takes note of what came of asking. Fails if the call ends.
    pub(super) fn note<T>(&mut self, told: Result<T>) -> Result<Result<T>> {
        match told {
            Err(error) if error.kind() == Kind::Cancelled => return Err(error),
            Err(error) if error.is_transient() => {
                self.failures += 1;
                self.last = Some(error.clone());
                return Ok(Err(error));
            }
            _ => self.failures = 0,
        }
        Ok(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;
    use crate::config::options::ClientOptions;

    /// One failure says nothing of the next file, and several in a row do; a refusal is an answer.
    #[test]
    fn it_takes_some_failures_to_give_up() {
        let environment = Environment::of([("HOME", "/nonexistent")]);
        let config = Config::resolve_in(&ClientOptions::default(), &environment).unwrap();
        let mut asking = Asking::new(&config);
        let fail = |kind| Err::<(), _>(Error::new(kind, "away"));
        for kind in [Kind::Connection, Kind::Timeout, Kind::Forbidden, Kind::ServerError] {
            assert!(asking.note(fail(kind)).unwrap().is_err());
        }
        assert_eq!(asking.allowed(), Ok(()));
        for _ in 1..FAILURES {
            assert!(asking.note(fail(Kind::Connection)).unwrap().is_err());
        }
        let said = asking.allowed().unwrap_err().unwrap();
        assert!(said.contains("not asked") && said.contains("away"), "{said}");
        assert!(asking.note(fail(Kind::Cancelled)).is_err());
    }

    /// Nobody is told that what nobody wanted wasn't done.
    #[test]
    fn offline_there_is_nothing_to_say() {
        let environment = Environment::of([("HOME", "/nonexistent"), ("HF_HUB_OFFLINE", "1")]);
        let config = Config::resolve_in(&ClientOptions::default(), &environment).unwrap();
        assert_eq!(Asking::new(&config).allowed(), Err(None));
    }
}
