//! A folder as Xet storage, in the form of the official client, which calls it `local://DIR`.
//!
//! ```text
//! DIR/xet/xorbs/xorbs/default.<hash>             xorbs, with their footers
//! DIR/xet/xorbs/shards/<hash>.mdb                what files are made of
//! DIR/xet/xorbs/global_dedup_lookup.redb         where to look for files and chunks
//! DIR/xet/shard-cache, DIR/xet/shard-session     what uploads know of chunks
//! ```
//!
//! xet-core's `LocalClient` keeps it, so that either finds what the other has stored. What is read is proven in the
//! same way as if it came over a network. One process at a time can have the folder open.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Cursor};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::runtime::Handle;
use tokio::sync::OnceCell;
use xet_client::cas_client::{Client, DirectAccessClient, LocalClient};
use xet_client::cas_types::{FileRange, QueryReconstructionResponseV2};
use xet_client::error::ClientError;
use xet_core_structures::CoreError;
use xet_core_structures::merklehash::MerkleHash;
use xet_core_structures::metadata_shard::streaming_shard::MDBMinimalShard;
use xet_core_structures::xorb_object::{SerializedXorbObject, XorbObject};
use xet_runtime::config::XetConfig;
use xet_runtime::core::XetContext;

use super::Opened;
use super::block::{LOCAL, lie};
use super::chunks::Known;
use crate::call::Call;
use crate::call::scheduler::OffWorker;
use crate::model::error::{Error, Kind, Result};
use crate::sys::{fork, open};

/// Bytes of a xorb that are read at a time.
const PIECE: u64 = 1 << 20;

/// A folder that is storage, for the work of one call.
pub(crate) struct LocalFolder {
    root: PathBuf,
    call: Call,
    client: OnceCell<OffWorker<Arc<LocalClient>>>,
    /// The xorbs that this call has found to be what their names say.
    proven: Arc<Mutex<HashSet<MerkleHash>>>,
}

impl LocalFolder {
    /// The folder at `root`, an absolute path. It's made when it's used first.
    pub(crate) fn new(root: &Path, call: Call) -> Self {
        Self { root: root.to_owned(), call, client: OnceCell::new(), proven: Arc::default() }
    }

    /// What the official client calls it.
    pub(crate) fn endpoint(&self) -> String {
        format!("local://{}", self.root.display())
    }

    /// Makes sure that it can be used.
    pub(crate) async fn reach(&self) -> Result<()> {
        self.client().await.map(drop)
    }

    /// Where the bytes `wanted` of the file with this hash are.
    pub(super) async fn reconstruction(
        &self,
        file: &MerkleHash,
        wanted: &Range<u64>,
    ) -> Result<QueryReconstructionResponseV2> {
        let (file, wanted) = (*file, FileRange::new(wanted.start, wanted.end));
        let find = move |client: &LocalClient, runtime: &Handle| {
            if runtime.block_on(client.get_file_reconstruction_info(&file))?.is_none() {
                return Err(ClientError::FileNotFound(file));
            }
            runtime.block_on(client.get_reconstruction(&file, Some(wanted)))
        };
        let found = self.work(format!("to look for file {}", file.hex()), find).await?;
        let mut found = found.ok_or_else(|| lie("the file ends before the range"))?;
        for (xorb, fetches) in &mut found.xorbs {
            for fetch in fetches {
                fetch.url = format!("{LOCAL}:{}", MerkleHash::from(xorb).hex());
            }
        }
        Ok(found)
    }

    /// The chunks that the file of `size` bytes was published with: all of them.
    pub(super) async fn chunks(&self, file: &MerkleHash, size: u64) -> Result<Known> {
        let file = *file;
        let list = move |client: &LocalClient, runtime: &Handle| {
            let info = runtime.block_on(client.get_file_reconstruction_info(&file))?;
            let (info, _) = info.ok_or(ClientError::FileNotFound(file))?;
            let mut chunks = Vec::new();
            for term in &info.segments {
                let xorb = runtime.block_on(client.xorb_footer(&term.xorb_hash))?;
                let (start, end) = (term.chunk_index_start, term.chunk_index_end);
                chunks.extend(xorb.chunk_hash_sizes(start, end)?);
            }
            Ok(chunks)
        };
        let chunks = self.work(format!("to look for chunks of {}", file.hex()), list).await?;
        Known::of_all(chunks, size)
    }

    /// Opens what a xorb has from the byte `first` to the byte `last`.
    pub(super) async fn open(&self, xorb: &MerkleHash, first: u64, last: u64) -> Result<Opened> {
        let (path, name) = (self.xorb_path(xorb), xorb.hex());
        let what = format!("the disk to open {}", path.display());
        let opening = path.clone();
        let open = move || {
            let file = open::to_read(&opening).map_err(|e| match e.kind() {
                io::ErrorKind::NotFound => missing(&opening, &format!("xorb {name}")),
                _ => Error::io("read", &opening, e),
            })?;
            let length = file.metadata().map_err(|e| Error::io("look at", &opening, e))?.len();
            if length <= last {
                return Err(damaged(&opening, &format!("it ends after {length} bytes")));
            }
            Ok(file)
        };
        let file = self.call.blocking(what, open).await?;
        let (call, file) = (self.call.clone(), Arc::new(self.call.off_worker(file)));
        let pieces = stream::unfold(first, move |at| {
            let (call, file, path) = (call.clone(), Arc::clone(&file), path.clone());
            async move {
                let length = PIECE.min((last + 1).saturating_sub(at));
                if length == 0 {
                    return None;
                }
                let what = format!("the disk to read {}", path.display());
                let read = call.blocking(what, move || read(&file, at, length, &path)).await;
                // After a failure nothing more comes.
                let next = if read.is_ok() { at + length } else { last + 1 };
                Some((read, next))
            }
        });
        Ok(Opened { length: last + 1 - first, body: pieces.boxed() })
    }

    /// Keeps a xorb, without a footer as it's sent. It's written whether it's there or not: what is there may be
    /// damaged. Returns how many bytes that took.
    pub(crate) async fn keep_xorb(&self, xorb: &MerkleHash, content: &Bytes) -> Result<u64> {
        let (hash, content) = (*xorb, content.clone());
        let keep = move |client: &LocalClient, runtime: &Handle| {
            let xorb = SerializedXorbObject {
                serialized_data: content.into(),
                hash,
                // For progress and logs, and here is neither.
                raw_num_bytes: 0,
                num_chunks: 0,
                footer_start: None,
            };
            runtime.block_on(async {
                let permit = client.acquire_upload_permit().await?;
                client.upload_xorb("default", xorb, None, permit).await
            })
        };
        let bytes = self.work(format!("to keep xorb {}", xorb.hex()), keep).await?;
        lock(&self.proven).insert(*xorb);
        Ok(bytes)
    }

    /// Keeps a shard; fails by [`Kind::NotFound`] if it names xorbs that aren't there, or aren't whole: what others
    /// have stored here is read once by each upload that counts on it.
    pub(crate) async fn keep_shard(&self, shard: &Bytes) -> Result<()> {
        let (shard, xorbs, call) = (shard.clone(), self.xorbs(), self.call.clone());
        let proven = Arc::clone(&self.proven);
        let keep = move |client: &LocalClient, runtime: &Handle| {
            let named = MDBMinimalShard::from_reader(&mut Cursor::new(&shard), true, true)?;
            for file in (0..named.num_files()).filter_map(|number| named.file(number)) {
                for term in (0..file.num_entries()).map(|number| file.entry(number)) {
                    let (hash, mut proven) = (term.xorb_hash, lock(&proven));
                    if !proven.contains(&hash) {
                        if !is_whole(&xorb_in(&xorbs, &hash), &hash)? {
                            return Err(ClientError::XORBNotFound(hash));
                        }
                        call.beat();
                        proven.insert(hash);
                    }
                }
            }
            runtime.block_on(async {
                let permit = client.acquire_upload_permit().await?;
                client.upload_shard(shard, permit, None).await
            })
        };
        self.work("to keep a shard", keep).await.map(drop)
    }

    /// A shard that has this chunk, if one is known.
    pub(crate) async fn shard_with(&self, chunk: &MerkleHash) -> Result<Option<Bytes>> {
        let chunk = *chunk;
        let find = move |client: &LocalClient, runtime: &Handle| {
            runtime.block_on(client.query_for_global_dedup_shard("default", &chunk))
        };
        self.work(format!("to look for chunk {}", chunk.hex()), find).await
    }

    /// Has `work` done with the folder, where that may block. `what` says what for.
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        what: impl std::fmt::Display,
        work: impl FnOnce(&LocalClient, &Handle) -> Result<T, ClientError> + Send + 'static,
    ) -> Result<T> {
        let client = Arc::clone(self.client().await?);
        let client = self.call.off_worker(client);
        let (runtime, root) = (Handle::current(), self.root.clone());
        let what = format!("the disk {what} in {}", root.display());
        let work = move || work(&client, &runtime).map_err(|error| explain(&root, error));
        self.call.blocking(what, work).await
    }

    async fn client(&self) -> Result<&Arc<LocalClient>> {
        let open = || async {
            let mut xet = XetConfig::default();
            (xet.telemetry.enabled, xet.log.dest) = (false, None);
            let runtime = Handle::current();
            let context = fork::hold_off(|| XetContext::from_external(runtime.clone(), xet));
            let root = self.root.clone();
            let what = format!("the disk to open {} as storage", root.display());
            let open = move || {
                let made = runtime.block_on(LocalClient::new(context, base(&root)));
                made.map_err(|error| explain(&root, error))
            };
            Ok::<_, Error>(self.call.off_worker(self.call.blocking(what, open).await?))
        };
        self.client.get_or_try_init(open).await.map(|client| &**client)
    }

    fn xorbs(&self) -> PathBuf {
        base(&self.root).join("xorbs")
    }

    fn xorb_path(&self, xorb: &MerkleHash) -> PathBuf {
        xorb_in(&self.xorbs(), xorb)
    }
}

/// What xet-core is told of a folder.
fn base(root: &Path) -> PathBuf {
    root.join("xet").join("xorbs")
}

fn xorb_in(xorbs: &Path, xorb: &MerkleHash) -> PathBuf {
    xorbs.join(format!("default.{}", xorb.hex()))
}

/// Whether a xorb is there, and is what its name says: each chunk has its hash.
fn is_whole(path: &Path, xorb: &MerkleHash) -> Result<bool, ClientError> {
    let file = match open::to_read(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    match XorbObject::validate_xorb_object(&mut BufReader::with_capacity(1 << 20, file), xorb) {
        Ok(found) => Ok(found.is_some()),
        Err(CoreError::Io(error)) if !is_of_content(&error) => Err(error.into()),
        // It isn't even one.
        Err(error) => {
            tracing::debug!(path = %path.display(), %error, "a xorb in the folder is damaged");
            Ok(false)
        }
    }
}

fn lock<T>(of_call: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change leaves it whole.
    of_call.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(file: &File, at: u64, length: u64, path: &Path) -> Result<Bytes> {
    let mut piece = vec![0; usize::try_from(length).map_err(Error::internal)?];
    file.read_exact_at(&mut piece, at).map_err(|e| match e.kind() {
        io::ErrorKind::UnexpectedEof => damaged(path, "it ended while it was read"),
        _ => Error::io("read", path, e),
    })?;
    Ok(piece.into())
}

/// The error for what storage at `root` fails with.
fn explain(root: &Path, error: ClientError) -> Error {
    match error {
        ClientError::FileNotFound(hash) => {
            missing(root, &format!("file with the Xet hash {}", hash.hex()))
        }
        ClientError::XORBNotFound(hash) => missing(root, &format!("xorb {}", hash.hex())),
        ClientError::IOError(error) | ClientError::FormatError(CoreError::Io(error))
            if !is_of_content(&error) =>
        {
            Error::io("use as Xet storage", root, error)
        }
        ClientError::IOError(_) | ClientError::FormatError(_) => {
            damaged(root, &format!("one of its files is none of Xet's: {error}"))
        }
        // redb's words.
        ClientError::Other(words) if words.contains("already open") => {
            let message = format!(
                "{} is in use as Xet storage by another process, and one at a time can have it; try \
                 again when that has ended",
                root.display()
            );
            in_folder(Kind::Io, message, root)
        }
        error => {
            let message = format!("can't use {} as Xet storage: {error}", root.display());
            in_folder(Kind::Io, message, root)
        }
    }
}

/// Whether a file isn't what it should be: it ends too early, or says that something is before its start.
fn is_of_content(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput)
}

fn missing(place: &Path, what: &str) -> Error {
    let message = format!("Xet storage in {} has no {what}", place.display());
    in_folder(Kind::NotFound, message, place)
}

fn damaged(place: &Path, why: &str) -> Error {
    let message = format!("{}, which is Xet storage, is damaged: {why}", place.display());
    in_folder(Kind::ChecksumMismatch, message, place)
}

fn in_folder(kind: Kind, message: String, place: &Path) -> Error {
    Error::new(kind, message).with(|c| c.file = Some(place.display().to_string()))
}
