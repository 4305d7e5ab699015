//! Where nodes share what they have fetched, and what the names of that are derived with.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::Environment;
use crate::config::options::ClientOptions;
use crate::model::error::{Error, Result};

/// What names the place.
const PLACE: &str = "XET_FFI_SHARED_CACHE";

/// Instead of a place: nothing is shared, whatever the environment says.
const NOWHERE: &str = "none";

/// What names the secret of the deployment.
const SECRET: &str = "XET_FFI_SHARED_CACHE_SECRET";

/// For how many seconds a store keeps what was put there, if it knows of time.
const LIFETIME: &str = "XET_FFI_SHARED_CACHE_SECONDS";

/// The same where nothing is said: what a week hasn't needed isn't needed.
const A_WEEK: Duration = Duration::from_hours(7 * 24);

/// The cache that the nodes of a deployment share. `Debug` and `Display` show no password and no secret.
#[derive(Clone)]
pub struct SharedCache {
    /// Where it is.
    pub(crate) place: SharedPlace,
    /// What the deployment's names and keys are derived with; empty: nothing but what the CAS tells.
    pub(crate) secret: Vec<u8>,
    /// How long a store keeps what was put there, if it knows of time.
    pub(crate) lifetime: Duration,
}

/// Where what nodes share is.
#[derive(Clone)]
pub(crate) enum SharedPlace {
    /// A folder, on a disk that they all see.
    Folder(PathBuf),
    /// Redis, Valkey, or what speaks like them.
    Redis(Url),
}

impl SharedCache {
    /// As the options say, else the environment; `None`: there is none.
    pub(super) fn resolve(
        options: &ClientOptions,
        environment: &Environment,
    ) -> Result<Option<Self>> {
        let (field, place) = match &options.shared_cache {
            Some(place) => ("options.shared_cache", Some(place.clone())),
            None => (PLACE, environment.text(PLACE)?),
        };
        let Some(place) = place.filter(|place| place != NOWHERE) else { return Ok(None) };
        let secret = match &options.shared_cache_secret {
            Some(secret) => Some(secret.clone()),
            None => environment.text(SECRET)?,
        };
        let secret = secret.unwrap_or_default().into_bytes();
        let lifetime = environment.seconds(LIFETIME)?.unwrap_or(A_WEEK);
        Ok(Some(Self { place: SharedPlace::parse(field, &place)?, secret, lifetime }))
    }
}

impl SharedPlace {
    /// Parses the place that the caller knows as `field`. The error shows none of it: there may be a password in it.
    fn parse(field: &str, text: &str) -> Result<Self> {
        let forms =
            "use redis://host:port, rediss://host:port, redis+unix:///socket or file:///folder";
        let url = Url::parse(text)
            .map_err(|error| Error::invalid(field, format!("is no URL ({error}); {forms}")))?;
        match url.scheme() {
            "file" => {
                let folder = url.to_file_path().map_err(|()| {
                    let problem = "is no folder of this machine; use file:///folder";
                    Error::invalid(field, problem)
                })?;
                Ok(Self::Folder(folder))
            }
            "redis" | "rediss" if url.has_host() => Ok(Self::Redis(url)),
            "redis+unix" if url.path().len() > 1 => Ok(Self::Redis(url)),
            // What stands before the colon may be a name, or a password.
            _ => Err(Error::invalid(field, format!("is none that is known; {forms}"))),
        }
    }
}

impl fmt::Display for SharedPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::Redis(url) => {
                write!(f, "{}://", url.scheme())?;
                f.write_str(url.host_str().unwrap_or_default())?;
                if let Some(port) = url.port() {
                    write!(f, ":{port}")?;
                }
                f.write_str(url.path())
            }
        }
    }
}

impl fmt::Debug for SharedCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedCache({})", self.place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(place: &str) -> Result<Option<SharedCache>> {
        let environment = Environment::of([(PLACE, place), (SECRET, "s3cret-of-all")]);
        SharedCache::resolve(&ClientOptions::default(), &environment)
    }

    /// What can be used is understood, and shows neither its password nor the secret.
    #[test]
    fn places_are_understood_and_hide_their_secrets() {
        for (text, shown) in [
            ("file:///mnt/shared/xet", "/mnt/shared/xet"),
            ("redis://localhost:6379/2", "redis://localhost:6379/2"),
            ("rediss://user:pa55word@cache.example/", "rediss://cache.example/"),
            ("redis://:pa55word@[::1]:7000", "redis://[::1]:7000"),
            ("redis+unix:///run/redis.sock", "redis+unix:///run/redis.sock"),
        ] {
            let shared = resolve(text).unwrap().unwrap();
            assert_eq!(shared.place.to_string(), shown);
            let debug = format!("{shared:?}");
            assert!(!debug.contains("pa55word") && !debug.contains("s3cret"), "{debug}");
            assert_eq!(shared.secret, b"s3cret-of-all");
        }
        assert!(resolve("").unwrap().is_none() && resolve("none").unwrap().is_none());
    }

    /// What can't be is refused by the name of the variable, and shows no password either.
    #[test]
    fn other_places_are_refused() {
        for text in [
            "localhost:6379",
            "gopher://user:pa55word@host",
            "redis://",
            "file://host/folder",
            "user:pa55word@host",
            "redis+unix:///",
        ] {
            let error = resolve(text).unwrap_err();
            assert_eq!(error.context().field.as_deref(), Some(PLACE), "{text}");
            assert!(!error.message().contains("pa55word"), "{error}");
        }
    }

    /// Options come first, and may switch off what the environment says.
    #[test]
    fn options_come_first() {
        let environment = Environment::of([(PLACE, "redis://one")]);
        let with = |place: &str| {
            let options = ClientOptions {
                shared_cache: Some(place.to_owned()),
                shared_cache_secret: Some("mine".to_owned()),
                ..ClientOptions::default()
            };
            SharedCache::resolve(&options, &environment).unwrap()
        };
        let other = with("file:///other").unwrap();
        assert_eq!((other.place.to_string(), &*other.secret), ("/other".to_owned(), &b"mine"[..]));
        assert!(with("none").is_none());
    }
}
