//! What a client is configured with: [`ClientOptions`] first, then `huggingface_hub`'s environment
//! variables, then defaults.
//!
//! Everything is read once and validated here, so the rest of the crate neither looks at the
//! environment nor checks a range again. An empty variable counts as unset.

mod certificates;
mod deadlines;
mod endpoint;
mod environment;
pub(crate) mod headers;
mod no_proxy;
pub mod options;
mod proxy;
mod shared_cache;
mod token;
mod transport;

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use certificates::Certificates;
pub use deadlines::Deadlines;
pub use endpoint::Endpoint;
pub use environment::Environment;
pub use headers::Header;
pub use proxy::{Proxies, Proxy};
pub use shared_cache::SharedCache;
pub(crate) use shared_cache::SharedPlace;
pub use token::Token;
pub use transport::Transport;

use reqwest::header::HeaderMap;

use crate::config::options::{ClientOptions, DeadlineOptions};
use crate::model::error::{Error, Result};
use crate::model::redact;

/// A client's settings, complete and valid.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "independent switches of huggingface_hub")]
pub struct Config {
    /// The Hub.
    pub endpoint: Endpoint,
    /// Who we are there; `None`: anonymous.
    pub token: Option<Token>,
    /// Where the token comes from: "argument", the name of a variable, or the path of the token
    /// file; "none" if there is none.
    pub token_source: String,
    /// Root of the Hub cache, absolute.
    pub hub_cache: PathBuf,
    /// Where Xet state lives, absolute.
    pub xet_cache: PathBuf,
    /// The most bytes that the reuse index may take (`XET_FFI_REUSE_INDEX_BYTES`); 0: there is none.
    pub reuse_index_bytes: u64,
    /// The most bytes that may stay of content which was being fetched by its Xet hash, and which nobody has come back
    /// for (`XET_FFI_INCOMPLETE_BYTES`).
    pub incomplete_bytes: u64,
    /// The most bytes that may be kept of what was read in place (`XET_FFI_READ_CACHE_BYTES`); 0: nothing is.
    pub read_cache_bytes: u64,
    /// What the nodes of a deployment share (`XET_FFI_SHARED_CACHE`); `None`: nothing.
    pub shared_cache: Option<SharedCache>,
    /// Whether the network must not be used.
    pub offline: bool,
    /// Which way Xet files come (`XET_FFI_TRANSPORT`, `HF_HUB_DISABLE_XET`).
    pub transport: Transport,
    /// Whether the cache-wide blob store is off (`HF_HUB_DISABLE_SHARED_BLOBS`).
    pub disable_shared_blobs: bool,
    /// Whether snapshots hold copies instead of links (`HF_HUB_DISABLE_SYMLINKS`).
    pub disable_symlinks: bool,
    /// Whether the user has opted out of telemetry. We send none; it also shortens the User-Agent.
    pub disable_telemetry: bool,
    /// Files in flight at a time.
    pub max_concurrent_downloads: u32,
    /// The User-Agent header, visible ASCII and spaces.
    pub user_agent: String,
    /// What else goes to the Hub, and to nobody else.
    pub headers: HeaderMap,
    /// The way to the network.
    pub proxies: Proxies,
    /// Who vouches for servers.
    pub certificates: Certificates,
    /// Limits of calls that bring none of their own.
    pub deadlines: Deadlines,
    /// Longest wait for one attempt to learn a file's metadata.
    pub etag_timeout: Duration,
    /// Attempts per request, the first included.
    pub max_attempts: u32,
    /// The most bytes of file content per second, over all calls.
    pub max_bytes_per_second: Option<NonZeroU32>,
    /// Why no request can be made: a variable, or a file that it names, which only requests need, and which can't
    /// be used. Each would fail with this; what needs none works.
    pub unusable: Option<Error>,
}

impl Config {
    /// Files in flight where nothing else is said.
    pub const DEFAULT_CONCURRENCY: u32 = 8;
    /// The index of some 3 TB of content.
    pub const DEFAULT_REUSE_INDEX: u64 = 1 << 29;
    /// Enough for one file of most models.
    const DEFAULT_INCOMPLETE: u64 = 50 << 30;
    /// What is read of a few large models.
    const DEFAULT_READ_CACHE: u64 = 10 << 30;
    /// Attempts where nothing else is said; as `huggingface_hub`.
    pub const DEFAULT_ATTEMPTS: u32 = 6;
    const DEFAULT_ETAG_TIMEOUT: Duration = Duration::from_secs(10);

    /// Settings from `options` and the process's environment. Reads the token file, uses no
    /// network.
    pub fn resolve(options: &ClientOptions) -> Result<Self> {
        Self::resolve_in(options, &Environment::process())
    }

    /// Settings from `options` and the given environment.
    pub fn resolve_in(options: &ClientOptions, environment: &Environment) -> Result<Self> {
        redact::prepare();
        let staging = environment.flag("HUGGINGFACE_CO_STAGING");
        let home = hf_home(environment);
        let disable_telemetry = ["HF_HUB_DISABLE_TELEMETRY", "DISABLE_TELEMETRY", "DO_NOT_TRACK"]
            .iter()
            .any(|name| environment.flag(name));
        let hub_cache = options
            .cache_dir
            .clone()
            .or_else(|| environment.path("HF_HUB_CACHE"))
            .or_else(|| environment.path("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| home.as_ref().map(|home| home.join("hub")));
        let Some(hub_cache) = hub_cache else {
            let problem =
                "is unset, and this account has no home folder; set HF_HOME, or pass cache_dir";
            return Err(Error::invalid("HF_HOME", problem));
        };
        // Where there's no home, it is beside the other cache, as it would be in one.
        let xet_cache = environment.path("HF_XET_CACHE").unwrap_or_else(|| match &home {
            Some(home) => home.join("xet"),
            None => hub_cache.parent().unwrap_or(&hub_cache).join("xet"),
        });
        let mut requests = ForRequests::default();
        let token = token::resolve(options, environment, home.as_deref(), staging);
        let (token, token_source) = requests.take(token, None)?.unzip();
        let public = Endpoint::parse("HF_ENDPOINT", Endpoint::DEFAULT)?;
        let agent = user_agent(options, environment, disable_telemetry);
        let etag_timeout = requests.take(environment.seconds("HF_HUB_ETAG_TIMEOUT"), None)?;
        let deadlines = match options.deadlines.read_timeout {
            // What a variable says in its place doesn't matter, and needn't be of use.
            Some(_) => Deadlines::DEFAULT,
            None => requests.take(read_timeout(environment), Deadlines::DEFAULT)?,
        };
        Ok(Self {
            endpoint: requests.take(endpoint(options, environment, staging), public)?,
            token,
            token_source: token_source.unwrap_or_else(|| "none".to_owned()),
            hub_cache: absolute("options.cache_dir", &hub_cache)?,
            xet_cache: absolute("HF_XET_CACHE", &xet_cache)?,
            reuse_index_bytes: environment
                .number("XET_FFI_REUSE_INDEX_BYTES")?
                .unwrap_or(Self::DEFAULT_REUSE_INDEX),
            incomplete_bytes: environment
                .number("XET_FFI_INCOMPLETE_BYTES")?
                .unwrap_or(Self::DEFAULT_INCOMPLETE),
            read_cache_bytes: environment
                .number("XET_FFI_READ_CACHE_BYTES")?
                .unwrap_or(Self::DEFAULT_READ_CACHE),
            shared_cache: requests.take(SharedCache::resolve(options, environment), None)?,
            offline: options.offline || offline(environment),
            transport: Transport::resolve(options, environment)?,
            disable_shared_blobs: environment.flag("HF_HUB_DISABLE_SHARED_BLOBS"),
            disable_symlinks: environment.flag("HF_HUB_DISABLE_SYMLINKS"),
            disable_telemetry,
            max_concurrent_downloads: in_range(
                "options.max_concurrent_downloads",
                options.max_concurrent_downloads.unwrap_or(Self::DEFAULT_CONCURRENCY),
                256,
            )?,
            user_agent: requests.take(agent, String::new())?,
            headers: headers::for_the_hub("options.headers", &options.headers)?,
            proxies: requests.take(Proxies::resolve(environment), Proxies::default())?,
            certificates: Certificates::resolve(environment),
            deadlines: deadlines.with(&options.deadlines)?,
            etag_timeout: etag_timeout.unwrap_or(Self::DEFAULT_ETAG_TIMEOUT),
            max_attempts: in_range(
                "options.max_attempts",
                options.max_attempts.unwrap_or(Self::DEFAULT_ATTEMPTS),
                20,
            )?,
            max_bytes_per_second: options.max_bytes_per_second.map(speed_limit).transpose()?,
            unusable: requests.unusable,
        })
    }
}

/// The settings that only requests need. What the environment has of them may be of no use to a call that makes
/// none, such as a look at the cache: it's no reason for that to fail.
#[derive(Debug, Default)]
struct ForRequests {
    /// The first one that can't be used.
    unusable: Option<Error>,
}

impl ForRequests {
    /// A setting; `instead` stands for one that can't be used. What the caller has passed is refused at once.
    fn take<T>(&mut self, setting: Result<T>, instead: T) -> Result<T> {
        match setting {
            Err(error) if !is_about_an_option(&error) => {
                self.unusable.get_or_insert(error);
                Ok(instead)
            }
            setting => setting,
        }
    }
}

fn is_about_an_option(error: &Error) -> bool {
    error.context().field.as_deref().is_some_and(|field| field.starts_with("options."))
}

/// `HF_HOME`, else `$XDG_CACHE_HOME/huggingface`, else `~/.cache/huggingface`, if this account has a home
/// folder.
fn hf_home(environment: &Environment) -> Option<PathBuf> {
    let cache = || environment.path("XDG_CACHE_HOME").map(|cache| cache.join("huggingface"));
    let home = || environment.home().map(|home| home.join(".cache").join("huggingface"));
    environment.path("HF_HOME").or_else(cache).or_else(home)
}

fn endpoint(options: &ClientOptions, environment: &Environment, staging: bool) -> Result<Endpoint> {
    if let Some(text) = &options.endpoint {
        return Endpoint::parse("options.endpoint", text);
    }
    if staging {
        return Endpoint::parse("HUGGINGFACE_CO_STAGING", Endpoint::STAGING);
    }
    match environment.text("HF_ENDPOINT")? {
        Some(text) => Endpoint::parse("HF_ENDPOINT", &text),
        None => Endpoint::parse("HF_ENDPOINT", Endpoint::DEFAULT),
    }
}

/// `TRANSFORMERS_OFFLINE` counts only where `HF_HUB_OFFLINE` is unset, so `HF_HUB_OFFLINE=0`
/// overrules it.
fn offline(environment: &Environment) -> bool {
    if environment.is_set("HF_HUB_OFFLINE") {
        environment.flag("HF_HUB_OFFLINE")
    } else {
        environment.flag("TRANSFORMERS_OFFLINE")
    }
}

/// `<caller's>; xet-ffi/<version>; os/<os>; arch/<arch>; origin/<origin>`: the Hub reads "; " as
/// the separator. Without telemetry, nothing about the machine.
fn user_agent(
    options: &ClientOptions,
    environment: &Environment,
    disable_telemetry: bool,
) -> Result<String> {
    let mut parts = Vec::new();
    if let Some(text) = options.user_agent.as_deref().map(str::trim).filter(|t| !t.is_empty()) {
        parts.push(header_text("options.user_agent", text)?);
    }
    parts.push(concat!("xet-ffi/", env!("CARGO_PKG_VERSION")).to_owned());
    if !disable_telemetry {
        parts.push(format!("os/{}", std::env::consts::OS));
        parts.push(format!("arch/{}", std::env::consts::ARCH));
    }
    if let Some(origin) = environment.text("HF_HUB_USER_AGENT_ORIGIN")? {
        parts.push(format!("origin/{}", header_text("HF_HUB_USER_AGENT_ORIGIN", origin.trim())?));
    }
    Ok(parts.join("; "))
}

fn header_text(field: &str, text: &str) -> Result<String> {
    if text.len() > 1024 {
        return Err(Error::invalid(field, "is longer than 1,024 bytes"));
    }
    if !text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
        return Err(Error::invalid(field, "has characters other than visible ASCII and spaces"));
    }
    Ok(text.to_owned())
}

/// Folders must not follow a later change of the working directory.
fn absolute(field: &str, path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| {
        Error::invalid(field, format!("can't make {} absolute: {error}", path.display()))
            .caused_by(error)
    })
}

fn in_range(field: &str, value: u32, most: u32) -> Result<u32> {
    if (1..=most).contains(&value) {
        Ok(value)
    } else {
        Err(Error::invalid(field, format!("{value} is not between 1 and {most}")))
    }
}

/// The limits that `HF_HUB_DOWNLOAD_TIMEOUT` makes of the defaults.
fn read_timeout(environment: &Environment) -> Result<Deadlines> {
    let name = "HF_HUB_DOWNLOAD_TIMEOUT";
    let known = environment.seconds(name)?.map(|wait| deadlines::sane(name, wait)).transpose()?;
    Deadlines::DEFAULT.with(&DeadlineOptions { read_timeout: known, ..DeadlineOptions::default() })
}

/// Some 4 GB/s is more than one machine's network; a larger limit limits nothing.
fn speed_limit(bytes_per_second: u64) -> Result<NonZeroU32> {
    let speed = u32::try_from(bytes_per_second).unwrap_or(u32::MAX);
    NonZeroU32::new(speed)
        .ok_or_else(|| Error::invalid("options.max_bytes_per_second", "must be at least 1"))
}

#[cfg(test)]
mod tests;
