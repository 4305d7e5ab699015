//! Content by its Xet hash, without a repo: files and streams out of Xet storage and into it, for programs that know
//! hashes and tokens by themselves.
//!
//! A [`Storage`] is a place and the right to it. [`Group`]s are files on their way; what moves them is what moves
//! those of repos: [`download::xet`](crate::download) and [`upload::store`](crate::upload), with another way to
//! tokens ([`access`]), and another place for what is on its way ([`kept`]).

mod access;
mod dedup;
mod download;
mod group;
mod hash;
mod kept;
mod stream;
mod task;
mod twins;
pub(crate) mod upload;
mod uploads;
mod window;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::runtime::Handle;
use xet_core_structures::merklehash::MerkleHash;

pub use crate::call::progress::ShardStats;
pub use access::{GivenToken, StorageOptions};
pub use dedup::DedupStats;
pub use download::{Download, content_hash};
pub use group::{Group, GroupKind, GroupReport};
pub use stream::{Piece, Stream, StreamOptions};
pub use task::{TaskReport, TaskState};
pub use uploads::{NewUpload, UploadSha256, UploadSource};

use self::access::{Access, Place, Tokens};
use self::upload::{Adder, Upload};
use crate::call::per_process::PerProcess;
use crate::call::{self, Call, CallLimits, Observer, SharedErrands};
use crate::cas::{Cas, Credentials, TokenSlot};
use crate::client::request::MaintenanceLimits;
use crate::client::{Client, Process};
use crate::config::{Config, Deadlines};
use crate::download::Session;
use crate::http::RetryPolicy;
use crate::hub::XetToken;
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::{Entry, RepoPath};
use crate::reuse::Index;
use hash::Hashed;

/// Xet storage and the right to it. For any thread; methods block.
pub struct Storage {
    client: Client,
    access: Arc<Access>,
    deadlines: Deadlines,
    /// The token that came with the answer where the CAS is.
    first: Option<XetToken>,
    process: PerProcess<Rights>,
}

/// What the work of one process with a storage shares.
#[derive(Debug)]
struct Rights {
    first: Arc<Mutex<Option<XetToken>>>,
    slot: Arc<TokenSlot>,
    /// Tokens that callers are asked for: any thread that waits for work of the storage gets them.
    errands: SharedErrands,
}

/// A storage, and the client that it's of, in this process.
struct Part {
    process: Arc<Process>,
    session: Session,
    access: Arc<Access>,
    rights: Arc<Rights>,
    deadlines: Deadlines,
}

impl Client {
    /// Opens a storage. Asks its refresh URL, if nobody else says where it is.
    pub fn open_storage(
        &self,
        options: &StorageOptions,
        observer: &mut dyn Observer,
    ) -> Result<Storage> {
        let mut access = Access::of(options)?;
        let deadlines = self.config().deadlines.with(&options.deadlines)?;
        let limits = CallLimits { timeout: options.timeout, deadlines };
        let mut first = None;
        if access.is_unknown() {
            let asking = Storage::of(self, access.clone(), deadlines, None).part()?;
            let call = asking.call();
            let (tokens, counters) = (asking.tokens(&call), Arc::clone(&call.counters));
            let ask = async move { tokens.token(&counters).await };
            let token = call::run(asking.runtime()?, &call, limits, observer, ask)?;
            access.place = Place::Cas(token.cas_url.clone());
            first = Some(token);
        }
        Ok(Storage::of(self, access, deadlines, first))
    }
}

/// A file's content by its Xet hash.
#[derive(Clone, Debug)]
pub struct HashedFile {
    /// 64 hex digits.
    pub hash: String,
    /// In bytes.
    pub size: u64,
}

impl Client {
    /// What the Xet hashes of files would be, in their order. The first one that can't be read is the error.
    pub fn hash_files(
        &self,
        paths: Vec<PathBuf>,
        limits: &MaintenanceLimits,
        observer: &mut dyn Observer,
    ) -> Result<Vec<HashedFile>> {
        let process = self.process()?;
        let deadlines = self.config().deadlines.with(&limits.deadlines)?;
        let (call, cache) = (process.call(), self.config().xet_cache.clone());
        let limits = CallLimits { timeout: limits.timeout, deadlines };
        let inner = call.clone();
        let hash = async move {
            let files = hash::look(&inner, paths).await?;
            let hashed = hash::hash_all(&inner, files, &cache).await;
            let file = |hashed: Hashed| HashedFile { hash: hashed.hash.hex(), size: hashed.size };
            hashed.into_iter().map(|hashed| hashed.map(file)).collect()
        };
        call::run(process.runtime()?, &call, limits, observer, hash)
    }
}

impl Storage {
    fn of(client: &Client, access: Access, deadlines: Deadlines, first: Option<XetToken>) -> Self {
        let (client, access) = (client.clone(), Arc::new(access));
        Self { client, access, deadlines, first, process: PerProcess::new() }
    }

    /// What this process works with.
    fn part(&self) -> Result<Part> {
        let is_here = matches!(self.access.place, Place::Folder(_));
        if self.client.config().offline && !is_here {
            let message = "can't ask Xet storage: the network is switched off (HF_HUB_OFFLINE, or the client's \
                           offline option); a folder (local://DIR) needs none";
            return Err(Error::new(Kind::Offline, message));
        }
        let process = self.client.process()?;
        let session = process.session(self.deadlines);
        let rights = self.process.get(|| {
            let given = || access::first_token(&self.access, self.access.place.cas()?);
            let first = self.first.clone().or_else(given);
            Ok(Rights {
                first: Arc::new(Mutex::new(first)),
                slot: Arc::default(),
                errands: SharedErrands::default(),
            })
        })?;
        let (access, deadlines) = (Arc::clone(&self.access), self.deadlines);
        Ok(Part { process, session, access, rights, deadlines })
    }
}

impl Part {
    fn call(&self) -> Call {
        self.process.call().sharing(&self.rights.errands)
    }

    fn runtime(&self) -> Result<&Handle> {
        self.process.runtime()
    }

    fn deadlines(&self) -> Deadlines {
        self.deadlines
    }

    fn config(&self) -> &Config {
        &self.session.config
    }

    fn reuse(&self) -> Option<Arc<Index>> {
        self.session.reuse.clone()
    }

    /// The storage's tokens, for the work of `call`, whose caller may be asked for them.
    fn tokens(&self, call: &Call) -> Credentials {
        let tokens = Tokens {
            access: Arc::clone(&self.access),
            http: Arc::clone(&self.session.http),
            policy: RetryPolicy::new(&self.session.config),
            first: Arc::clone(&self.rights.first),
            call: call.clone(),
        };
        Credentials::sharing(tokens, &self.rights.slot)
    }

    /// The CAS, for the work of `call`.
    fn cas(&self, call: &Call) -> Result<Cas> {
        match &self.access.place {
            Place::Folder(root) => self.session.cas_in(root, call),
            _ => self.session.cas_for(self.tokens(call), self.access.headers.clone()),
        }
    }

    /// An upload, for the work of `call`.
    fn upload(&self, call: &Call) -> (Adder, Upload) {
        if let Place::Folder(root) = &self.access.place {
            return Upload::in_folder(&self.session, root, call.clone());
        }
        let headers = self.access.headers.clone();
        Upload::new(&self.session, self.tokens(call), headers, call.clone())
    }
}

/// What is wanted, as a file of a repo would be. Messages call it by the name of the file at `path`, or else by its
/// hash.
fn entry_of(hash: MerkleHash, size: u64, path: Option<&Path>) -> Result<Entry> {
    let name = path.and_then(Path::file_name);
    let name = name.and_then(|name| RepoPath::new(&name.to_string_lossy()).ok());
    let name = name.map_or_else(|| RepoPath::new(&hash.hex()), Ok)?;
    Ok(Entry::of_xet_hash(name, hash, size))
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storage").field("place", &self.access.place).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod folder_tests;
#[cfg(test)]
mod tests;
