//! A folder as storage, ours and the official client's at it by turns.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use xet_client::cas_client::{Client, LocalClient};
use xet_core_structures::merklehash::{MerkleHash, compute_data_hash};
use xet_core_structures::metadata_shard::file_structs::MDBFileInfo;
use xet_data::processing::configurations::{SessionContext, TranslatorConfig};
use xet_data::processing::{FileDownloadSession, FileUploadSession, Sha256Policy, XetFileInfo};
use xet_runtime::config::XetConfig;
use xet_runtime::core::XetContext;

use super::upload::{NewContent, Upload};
use crate::call::Call;
use crate::call::progress::FileProgress;
use crate::cas::{Cas, LocalFolder};
use crate::config::Config;
use crate::download::{Job, Session, Sources, fetch, still_right};
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::Entry;
use crate::support::{config, path};
use crate::sys::lock::FileLock;
use crate::upload::{Borrowed, ContentSha256, CutContent, InputSource, Told};

/// A client and a folder. There is no server.
struct Place {
    folder: TempDir,
    session: Session,
}

/// Keeps what is heard of the last content.
#[derive(Default)]
struct Ear(std::sync::Mutex<Option<Result<CutContent>>>);

impl Told for Ear {
    fn began(&self, _: u64, _: &Arc<FileProgress>) {}

    fn cut(&self, content: &CutContent) {
        *self.0.lock().unwrap() = Some(Ok(content.clone()));
    }

    fn failed(&self, error: Error) {
        *self.0.lock().unwrap() = Some(Err(error));
    }
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            hub_cache: folder.path().join("hub"),
            xet_cache: folder.path().join("cache"),
            ..config("http://127.0.0.1:1", None)
        };
        Self { session: Session::new(Arc::new(config)).unwrap(), folder }
    }

    /// One with a blank in its name.
    fn root(&self) -> PathBuf {
        self.folder.path().join("a folder")
    }

    fn call(&self) -> Call {
        Call::new(Arc::clone(&self.session.scheduler))
    }

    fn cas(&self) -> Arc<Cas> {
        Arc::new(self.session.cas_in(&self.root(), &self.call()).unwrap())
    }

    /// Stores a content, and gives its hash.
    async fn store(&self, bytes: &[u8], sha256: ContentSha256) -> Result<MerkleHash> {
        let (adder, upload) = Upload::in_folder(&self.session, &self.root(), self.call());
        let ear = Arc::new(Ear::default());
        let source = InputSource::Memory(Borrowed::owned(Bytes::copy_from_slice(bytes)));
        let told = Arc::clone(&ear) as Arc<dyn Told>;
        let (name, cancel) = ("content".into(), CancellationToken::new());
        adder.add(NewContent { name, source, sha256, told, cancel })?;
        adder.close();
        upload.run().await?;
        let heard = ear.0.lock().unwrap().take();
        heard.unwrap().map(|content| content.hash)
    }

    /// Brings in a content by its hash.
    async fn load(&self, hash: MerkleHash, size: usize) -> Result<Vec<u8>> {
        let partial = self.folder.path().join(hash.hex());
        let lock = FileLock::try_acquire(&partial.with_extension("lock")).unwrap().unwrap();
        let entry = Entry::of_xet_hash(path("content"), hash, size as u64);
        let job = Job::open(Arc::new(entry), partial, None, Arc::new(lock), self.call())?;
        let cas = self.cas();
        let sources = Sources { cas: Some(&cas), plain: None, local: None, sharing: None };
        let proof = fetch(&job, hash, &sources).await?;
        still_right(&job, proof)?;
        Ok(fs::read(job.partial.path()).unwrap())
    }

    /// What the folder says of a file.
    async fn info(&self, hash: MerkleHash) -> MDBFileInfo {
        let folder = LocalFolder::new(&self.root(), self.call());
        let info = move |client: &LocalClient, runtime: &Handle| {
            runtime.block_on(client.get_file_reconstruction_info(&hash))
        };
        folder.work("to look", info).await.unwrap().unwrap().0
    }

    /// The official client's settings for the folder.
    fn official(&self) -> Arc<TranslatorConfig> {
        let context = XetContext::from_external(Handle::current(), XetConfig::default());
        let session = SessionContext::for_local_path(&context, self.root());
        Arc::new(TranslatorConfig::new(&context, session).unwrap())
    }

    /// The only xorb.
    fn xorb(&self) -> PathBuf {
        let found = fs::read_dir(self.root().join("xet/xorbs/xorbs")).unwrap();
        let paths = found.map(|entry| entry.unwrap().path());
        let mut xorbs = paths.filter(|path| path.extension().is_some_and(|e| e != "tagset"));
        let xorb = xorbs.next().unwrap();
        assert!(xorbs.next().is_none());
        let writable = fs::Permissions::from_mode(0o644);
        fs::set_permissions(&xorb, writable).unwrap();
        xorb
    }
}

/// Bytes that nothing else has.
fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(size).collect()
}

/// What was stored comes back, from another client in the same process, too, and with as much of its SHA-256 as was
/// wanted.
#[tokio::test]
async fn what_is_stored_comes_back() {
    let place = Place::new();
    // Somebody has it open meanwhile.
    let other = place.cas();
    assert!(
        other
            .try_reconstruction(&MerkleHash::default(), &(0..1), &place.call().counters)
            .await
            .is_err()
    );
    let given = "ab".repeat(32);
    for (seed, size, sha256, has_sha256) in [
        (1, 3 << 20, ContentSha256::Computed, true),
        (2, 0, ContentSha256::Computed, true),
        (3, 1000, ContentSha256::None, false),
        (4, 70_000, ContentSha256::Given(given.clone()), true),
    ] {
        let bytes = noise(seed, size);
        let hash = place.store(&bytes, sha256).await.unwrap();
        assert!(place.load(hash, size).await.unwrap() == bytes, "{size}");
        let ext = place.info(hash).await.metadata_ext;
        assert_eq!(ext.is_some(), has_sha256, "{size}");
        if seed == 4 {
            assert_eq!(ext.unwrap().sha256.hex(), given);
        }
    }
}

/// The official client reads what we have stored, and we read what it has.
#[tokio::test]
async fn it_is_the_official_clients_form() {
    let place = Place::new();
    let (ours, theirs) = (noise(5, 2 << 20), noise(6, 2 << 20));
    let hash = place.store(&ours, ContentSha256::Computed).await.unwrap();

    let session = FileDownloadSession::new(place.official(), None).await.unwrap();
    let target = place.folder.path().join("theirs");
    let info = XetFileInfo::new(hash.hex(), ours.len() as u64);
    session.download_file(&info, &target).await.unwrap();
    assert!(fs::read(&target).unwrap() == ours);
    drop(session);

    let session = FileUploadSession::new(place.official()).await.unwrap();
    let (_, mut cleaner) = session.start_clean(None, None, Sha256Policy::Compute).unwrap();
    cleaner.add_data(&theirs).await.unwrap();
    let (info, _) = cleaner.finish().await.unwrap();
    session.finalize().await.unwrap();
    let hash = MerkleHash::from_hex(&info.hash).unwrap();
    assert!(place.load(hash, theirs.len()).await.unwrap() == theirs);
}

/// One damaged byte, wherever it is in a xorb, is found out, and so is a xorb that ends too early: nothing of it is
/// taken for the content.
#[tokio::test]
async fn damage_is_found_out() {
    let bytes = noise(7, 300_000);
    let changes: [fn(&Path); 4] = [
        |xorb| flip(xorb, 1000),
        |xorb| flip(xorb, 0),
        |xorb| flip(xorb, 200_000),
        |xorb| fs::File::options().write(true).open(xorb).unwrap().set_len(150_000).unwrap(),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let place = Place::new();
        let hash = place.store(&bytes, ContentSha256::Computed).await.unwrap();
        change(&place.xorb());
        let error = place.load(hash, bytes.len()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::ChecksumMismatch, "{number}: {error}");
        assert!(!error.message().contains("server"), "{error}");
        // Storing it once more heals it.
        place.store(&bytes, ContentSha256::Computed).await.unwrap();
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// What isn't there is named: a file, or a xorb that a file needs, and a xorb that is known from an earlier upload is
/// stored again if it has gone.
#[tokio::test]
async fn what_is_missing_is_named() {
    let place = Place::new();
    let unknown = compute_data_hash(b"nobody has this");
    let error = place.load(unknown, 10).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.message().contains(&unknown.hex()), "{error}");

    let bytes = noise(8, 100_000);
    let hash = place.store(&bytes, ContentSha256::Computed).await.unwrap();
    let xorb = place.xorb();
    fs::remove_file(&xorb).unwrap();
    let error = place.load(hash, bytes.len()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{error}");
    assert_eq!(place.store(&bytes, ContentSha256::Computed).await.unwrap(), hash);
    assert!(place.load(hash, bytes.len()).await.unwrap() == bytes);
}

/// A folder that can't be used is the reason, and so is another process that uses it.
#[tokio::test]
async fn a_folder_that_cannot_be_used_is_the_reason() {
    let place = Place::new();
    fs::write(place.root(), "a file").unwrap();
    let error = place.store(b"x", ContentSha256::None).await.unwrap_err();
    assert!(error.message().contains("a folder"), "{error}");
    assert_eq!(error.kind(), Kind::Io, "{error}");

    let place = Place::new();
    fs::create_dir_all(place.root().join("xet/xorbs")).unwrap();
    let database = place.root().join("xet/xorbs/global_dedup_lookup.redb");
    let locked = fs::File::create(database).unwrap();
    locked.lock().unwrap();
    let error = place.store(b"x", ContentSha256::None).await.unwrap_err();
    assert!(error.message().contains("in use as Xet storage by another process"), "{error}");
}

/// All chunks that a file was published with are known.
#[tokio::test]
async fn published_chunks_are_known() {
    let (place, bytes) = (Place::new(), noise(9, 400_000));
    let hash = place.store(&bytes, ContentSha256::Computed).await.unwrap();
    let (cas, size) = (place.cas(), bytes.len() as u64);
    let known = cas.published_chunks(&hash, size, 0..size, &place.call().counters).await.unwrap();
    let mut at = 0;
    for (offset, (len, hash)) in known.chunks {
        assert_eq!(offset, at);
        at += len;
        let chunk = &bytes[usize::try_from(offset).unwrap()..usize::try_from(at).unwrap()];
        assert_eq!(compute_data_hash(chunk), hash);
    }
    assert_eq!(at, size);
}
