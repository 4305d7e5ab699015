//! Which of several failures is the reason, where one thing was tried in several ways and each failed
//! in a way of its own.
//!
//! The last failure is the one that ended it, but seldom the one that explains it: content that is
//! damaged on the server isn't mended by a network that is down as well.

use super::error::{Error, Kind};

/// How much a failure explains, the least first. Of two that explain as much, the later one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// The servers couldn't be reached, or not for long enough to hear what they have to say.
    Silence,
    /// They had nothing sensible to say, or whoever stands before them.
    Network,
    /// They could, and don't give it to this caller.
    Access,
    /// They did, and it's wrong.
    Content,
    /// It's this machine, or the caller: no server can help.
    Here,
}

fn weight(kind: Kind) -> Weight {
    match kind {
        Kind::Connection | Kind::Timeout => Weight::Silence,
        Kind::ServerError
        | Kind::RateLimited
        | Kind::InvalidResponse
        | Kind::Certificate
        | Kind::ProxyRefused => Weight::Network,
        Kind::Unauthorized
        | Kind::Forbidden
        | Kind::GatedRepo
        | Kind::RepoDisabled
        | Kind::RepoNotFound
        | Kind::RevisionNotFound
        | Kind::EntryNotFound
        | Kind::NotFound => Weight::Access,
        Kind::ChecksumMismatch => Weight::Content,
        _ => Weight::Here,
    }
}

impl Error {
    /// Whether this failure explains more than `earlier`, or as much.
    #[must_use]
    pub fn outweighs(&self, earlier: &Self) -> bool {
        weight(self.kind()) >= weight(earlier.kind())
    }

    /// The reason why something failed that was tried in two ways, each with its name: what is wrong
    /// with this machine, else with the content, else with the access, else with the network. The
    /// other failure is told behind it, and in `tried`. A call that was cancelled needs no reason.
    #[must_use]
    pub fn cause(earlier: (&str, Self), later: (&str, Self)) -> Self {
        // Who may not, may not either way, and needn't hear it twice; so with what is wrong.
        let is_verdict = matches!(weight(later.1.kind()), Weight::Access | Weight::Content);
        let is_the_same = later.1.kind() == earlier.1.kind() && is_verdict;
        if is_the_same || later.1.kind() == Kind::Cancelled {
            return later.1;
        }
        if later.1.message() == earlier.1.message() {
            // Nor what was said in the same words.
            let tried = format!("{}: {}", earlier.0, earlier.1.message());
            return later.1.with(|c| c.tried.push(tried));
        }
        if later.1.outweighs(&earlier.1) {
            later.1.beside("before that", earlier.0, &earlier.1)
        } else {
            earlier.1.beside("after that", later.0, &later.1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(earlier: Kind, later: Kind) -> Error {
        Error::cause(
            ("Xet", Error::new(earlier, "the first sentence")),
            ("plain HTTP", Error::new(later, "the second sentence")),
        )
    }

    /// What is wrong with the content counts more than a refusal, and that more than the network,
    /// whichever came first; where both are of one sort, the later one counts.
    #[test]
    fn the_reason_is_what_explains_most() {
        let table = [
            (Kind::ChecksumMismatch, Kind::Connection, Kind::ChecksumMismatch),
            (Kind::ChecksumMismatch, Kind::Timeout, Kind::ChecksumMismatch),
            (Kind::ChecksumMismatch, Kind::Forbidden, Kind::ChecksumMismatch),
            (Kind::ChecksumMismatch, Kind::InvalidResponse, Kind::ChecksumMismatch),
            (Kind::Connection, Kind::ChecksumMismatch, Kind::ChecksumMismatch),
            (Kind::Forbidden, Kind::ChecksumMismatch, Kind::ChecksumMismatch),
            (Kind::Forbidden, Kind::Connection, Kind::Forbidden),
            (Kind::NotFound, Kind::ServerError, Kind::NotFound),
            (Kind::Timeout, Kind::Unauthorized, Kind::Unauthorized),
            (Kind::GatedRepo, Kind::RateLimited, Kind::GatedRepo),
            (Kind::Unauthorized, Kind::NotFound, Kind::NotFound),
            (Kind::InvalidResponse, Kind::Connection, Kind::InvalidResponse),
            (Kind::Timeout, Kind::ServerError, Kind::ServerError),
            (Kind::ServerError, Kind::InvalidResponse, Kind::InvalidResponse),
            (Kind::Connection, Kind::Timeout, Kind::Timeout),
            (Kind::Timeout, Kind::Connection, Kind::Connection),
            (Kind::ChecksumMismatch, Kind::NoSpace, Kind::NoSpace),
            (Kind::Forbidden, Kind::Cancelled, Kind::Cancelled),
            (Kind::Connection, Kind::Io, Kind::Io),
        ];
        for (earlier, later, reason) in table {
            assert_eq!(cause(earlier, later).kind(), reason, "{earlier:?}, then {later:?}");
        }
    }

    /// The failure that isn't the reason is in the sentence and in `tried`, in the order of events.
    #[test]
    fn the_other_failure_is_told_as_well() {
        let error = cause(Kind::ChecksumMismatch, Kind::Connection);
        let told = "the first sentence; after that, plain HTTP: the second sentence";
        assert_eq!(error.message(), told);
        assert_eq!(error.context().tried, ["plain HTTP: the second sentence"]);

        let error = cause(Kind::Connection, Kind::Timeout);
        let told = "the second sentence; before that, Xet: the first sentence";
        assert_eq!(error.message(), told);
        assert_eq!(error.context().tried, ["Xet: the first sentence"]);
    }

    /// A failure of this machine is the reason, and leaves what was found before it to be told.
    #[test]
    fn a_full_disk_does_not_hide_damaged_content() {
        for earlier in [Kind::ChecksumMismatch, Kind::Forbidden, Kind::Connection, Kind::Io] {
            let error = cause(earlier, Kind::NoSpace);
            assert_eq!(error.kind(), Kind::NoSpace);
            let told = "the second sentence; before that, Xet: the first sentence";
            assert_eq!(error.message(), told, "{earlier:?}");
            assert_eq!(error.context().tried, ["Xet: the first sentence"]);
        }
    }

    /// A refusal that is the same by both ways is told once, and so is what the caller did himself.
    #[test]
    fn nothing_is_told_twice() {
        for (earlier, later) in [
            (Kind::Forbidden, Kind::Forbidden),
            (Kind::ChecksumMismatch, Kind::ChecksumMismatch),
            (Kind::Connection, Kind::Cancelled),
            (Kind::ChecksumMismatch, Kind::Cancelled),
        ] {
            let error = cause(earlier, later);
            assert_eq!(error.message(), "the second sentence");
            assert!(error.context().tried.is_empty());
        }
    }
}
