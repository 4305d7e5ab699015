//! Uploads of content without a commit, against xet-hub.

use bytes::Bytes;
use serde_json::json;
use tokio::sync::watch;
use xet_core_structures::merklehash::MerkleHash;

use super::*;
use crate::call::progress::FileProgress;
use crate::storage::hash::{Hashed, ToHash, hash_all};
use crate::upload::{Borrowed, CutContent, Staging, UploadContent};
use crate::world::{Fixed, World};

/// What is heard of one content.
#[derive(Clone, Debug, Default)]
struct Heard {
    size: Option<u64>,
    cut: Option<CutContent>,
    cuts: usize,
    failed: Option<Error>,
}

struct Ear(watch::Sender<Heard>);

impl Told for Ear {
    fn began(&self, size: u64, _: &Arc<FileProgress>) {
        self.0.send_modify(|heard| heard.size = Some(size));
    }

    fn cut(&self, content: &CutContent) {
        self.0.send_modify(|heard| {
            heard.cut = Some(content.clone());
            heard.cuts += 1;
        });
    }

    fn failed(&self, error: Error) {
        self.0.send_modify(|heard| heard.failed = Some(error));
    }
}

/// A content to add, and what is heard of it.
fn content(
    name: &str,
    source: impl Into<InputSource>,
    sha256: ContentSha256,
) -> (NewContent, watch::Receiver<Heard>) {
    let (ear, heard) = watch::channel(Heard::default());
    let (name, cancel) = (name.into(), CancellationToken::new());
    (NewContent { name, source: source.into(), sha256, told: Arc::new(Ear(ear)), cancel }, heard)
}

fn memory(bytes: &[u8]) -> InputSource {
    InputSource::Memory(Borrowed::owned(Bytes::copy_from_slice(bytes)))
}

/// Bytes that nothing else has.
fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(size).collect()
}

async fn begin(world: &World) -> (Adder, tokio::task::JoinHandle<Result<Uploaded>>) {
    let credentials = Credentials::new(Fixed(world.write_token().await));
    let headers = HeaderMap::new();
    let (adder, upload) = Upload::new(&world.session, credentials, headers, world.call());
    (adder, tokio::spawn(upload.run()))
}

async fn cut(heard: &mut watch::Receiver<Heard>) -> CutContent {
    heard.wait_for(|heard| heard.cut.is_some()).await.unwrap().cut.clone().unwrap()
}

/// That content, as storage has it.
async fn stored(world: &World, hash: MerkleHash, size: usize) -> Vec<u8> {
    let cas = world.cas(world.write_token().await, HeaderMap::new());
    let job = world.job(&hash.hex()[..8], hash, size);
    world.fetch(&cas, &job).await.unwrap()
}

/// Contents of every sort begin while the upload runs, each result is known before the end, and afterwards all of
/// them can be had.
#[tokio::test]
async fn contents_are_added_while_it_runs() {
    let world = World::new().await;
    let (adder, running) = begin(&world).await;
    let mut all = Vec::new();
    let file = world.folder.path().join("file");
    let mut staging = Staging::new(world.call(), world.folder.path().join("xet"));
    let stream = noise(3, 6 << 20);
    for piece in stream.chunks(100_000) {
        staging.write(piece).await.unwrap();
    }
    std::fs::write(&file, noise(1, 2 << 20)).unwrap();
    for (name, source, bytes) in [
        ("file", InputSource::Path(file), noise(1, 2 << 20)),
        ("memory", memory(&noise(2, 300_000)), noise(2, 300_000)),
        ("stream", InputSource::Content(staging.finish().await.unwrap()), stream),
        ("nothing", memory(b""), Vec::new()),
    ] {
        let (content, mut heard) = content(name, source, ContentSha256::Computed);
        adder.add(content).unwrap();
        let cut = cut(&mut heard).await;
        assert!(!running.is_finished());
        assert_eq!((cut.size, cut.metrics.total_bytes), (bytes.len() as u64, cut.size), "{name}");
        let sha256 = UploadContent::of_memory(Borrowed::owned(Bytes::from(bytes.clone())))
            .sha256(&world.call());
        assert_eq!(cut.sha256, Some(sha256.unwrap()), "{name}");
        all.push((cut.hash, bytes));
    }
    adder.close();
    let uploaded = running.await.unwrap().unwrap();
    let bytes: u64 = all.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    let metrics = uploaded.metrics;
    assert_eq!((uploaded.contents, metrics.total_bytes, metrics.new_bytes), (4, bytes, bytes));
    assert!(metrics.xorb_bytes_uploaded > bytes && metrics.shard_bytes_uploaded > 0);
    let sent = metrics.xorb_bytes_uploaded + metrics.shard_bytes_uploaded;
    assert_eq!(metrics.total_bytes_uploaded, sent);
    for (hash, bytes) in all {
        assert!(stored(&world, hash, bytes.len()).await == bytes);
    }
    let (late, _) = content("late", memory(b"x"), ContentSha256::None);
    assert_eq!(adder.add(late).unwrap_err().kind(), Kind::InvalidArgument);
}

/// What is wrong with one content is told of it alone: it's missing, a folder, cancelled, or isn't what it was known
/// to be. The others are stored.
#[tokio::test]
async fn a_content_fails_alone() {
    let world = World::new().await;
    let (adder, running) = begin(&world).await;
    let good = noise(4, 200_000);
    let add = |name, source, sha256| {
        let (content, heard) = content(name, source, sha256);
        let cancel = content.cancel.clone();
        (content, heard, cancel)
    };
    let missing = world.folder.path().join("missing");
    let folder = world.folder.path().to_owned();
    let other = ContentSha256::Expected("0".repeat(64));
    let mut heard = Vec::new();
    for (content, ear, cancel) in [
        add("missing", missing.into(), ContentSha256::Computed),
        add("good", memory(&good), ContentSha256::Computed),
        add("folder", folder.into(), ContentSha256::Computed),
        add("cancelled", memory(&noise(5, 100_000)), ContentSha256::Computed),
        add("changed", memory(&noise(6, 100_000)), other),
    ] {
        if &*content.name == "cancelled" {
            cancel.cancel();
        }
        adder.add(content).unwrap();
        heard.push(ear);
    }
    adder.close();
    let uploaded = running.await.unwrap().unwrap();
    assert_eq!((uploaded.contents, uploaded.metrics.total_bytes), (1, good.len() as u64));
    let failed = |ear: &watch::Receiver<Heard>| ear.borrow().failed.clone().map(|e| e.kind());
    let kinds: Vec<_> = heard.iter().map(failed).collect();
    let (io, cancelled, changed) =
        (Some(Kind::Io), Some(Kind::Cancelled), Some(Kind::SourceChanged));
    assert_eq!(kinds, [io, None, io, cancelled, changed]);
    let hash = heard[1].borrow().cut.as_ref().unwrap().hash;
    assert!(stored(&world, hash, good.len()).await == good);
}

/// The SHA-256 is computed, or the one that is given, or none.
#[tokio::test]
async fn a_sha256_is_as_wanted() {
    let world = World::new().await;
    let (adder, running) = begin(&world).await;
    let given = "ab".repeat(32);
    for (seed, sha256, expected) in
        [(7, ContentSha256::Given(given.clone()), Some(given)), (8, ContentSha256::None, None)]
    {
        let bytes = noise(seed, 50_000);
        let (content, mut heard) = content("x", memory(&bytes), sha256);
        adder.add(content).unwrap();
        assert_eq!(cut(&mut heard).await.sha256, expected);
    }
    let (none, heard) = content("none", memory(b"x"), ContentSha256::Given("AB".repeat(32)));
    adder.add(none).unwrap();
    adder.close();
    assert_eq!(running.await.unwrap().unwrap().contents, 2);
    let kind = heard.borrow().failed.as_ref().map(Error::kind);
    assert_eq!(kind, Some(Kind::InvalidArgument));
}

/// Content that somebody may have written to is read once more, also where no SHA-256 tells whether it's the same.
#[tokio::test]
async fn content_without_a_sha256_is_read_again_by_its_chunks() {
    let world = World::new().await;
    let (adder, running) = begin(&world).await;
    let (file, bytes) = (world.folder.path().join("file"), noise(11, 300_000));
    std::fs::write(&file, &bytes).unwrap();
    let seen = UploadContent::of_file(&file).unwrap();
    // The inode changes, and nothing of what is in it.
    std::fs::hard_link(&file, world.folder.path().join("twin")).unwrap();
    let (content, mut heard) = content("touched", InputSource::Content(seen), ContentSha256::None);
    adder.add(content).unwrap();
    let hash = cut(&mut heard).await.hash;
    adder.close();
    running.await.unwrap().unwrap();
    assert!(stored(&world, hash, bytes.len()).await == bytes);
}

/// An upload that was misled by what is known of earlier ones takes all that was added once more, and fails nothing.
#[tokio::test]
async fn an_upload_that_was_misled_begins_again() {
    let world = World::new().await;
    let (adder, running) = begin(&world).await;
    // Both versions of registering are refused; what was uploaded before is known.
    let rule = json!([{"route": "shard", "method": "POST", "skip": 0, "every": 1, "times": 2,
        "action": {"status": 400, "body": "no"}}]);
    world.server.post("/_hub/faults", rule).await;
    let (first, mut heard) = content("first", memory(&noise(9, 400_000)), ContentSha256::Computed);
    let (missing, lost) = content("missing", world.folder.path().join("gone"), ContentSha256::None);
    adder.add(missing).unwrap();
    adder.add(first).unwrap();
    let hash = cut(&mut heard).await.hash;
    adder.close();
    let uploaded = running.await.unwrap().unwrap();
    assert_eq!((uploaded.contents, heard.borrow().cuts), (1, 2));
    assert_eq!(uploaded.metrics.new_bytes, 400_000);
    assert!(lost.borrow().failed.is_some() && lost.borrow().cut.is_none());
    assert!(stored(&world, hash, 400_000).await == noise(9, 400_000));
}

/// Content that storage has isn't sent again, and is counted so.
#[tokio::test]
async fn what_storage_has_is_deduplicated() {
    let world = World::new().await;
    let (adder, running) = begin(&world).await;
    let mut longer = world.content.clone();
    longer.extend(noise(10, 70_000));
    let (content, mut heard) = content("longer", memory(&longer), ContentSha256::Computed);
    adder.add(content).unwrap();
    let metrics = cut(&mut heard).await.metrics;
    adder.close();
    let uploaded = running.await.unwrap().unwrap().metrics;
    assert_eq!(metrics.total_bytes, longer.len() as u64);
    assert_eq!(metrics.new_bytes + metrics.deduped_bytes, metrics.total_bytes);
    assert!(metrics.new_bytes < 300_000 && metrics.deduped_chunks > 30, "{metrics:?}");
    assert!(uploaded.xorb_bytes_uploaded < 310_000);
}

/// An upload to which nothing is added needs no storage.
#[tokio::test]
async fn nothing_needs_no_storage() {
    let world = World::new().await;
    let (adder, running) = begin(&world).await;
    world.server.reset_stats().await;
    adder.close();
    assert_eq!(running.await.unwrap().unwrap().contents, 0);
    assert_eq!(world.server.stats().await["requests"]["cas"], json!(null));
}

/// Hashing alone gives the hash by which content is stored, of each by itself.
#[tokio::test]
async fn hashes_need_no_storage() {
    let world = World::new().await;
    let source = world.folder.path().join("source");
    let call = world.call();
    let cache = world.folder.path().join("xet");
    let sources = [("a", source.into()), ("gone", cache.join("gone").into()), ("b", memory(b""))];
    let sources = sources.map(|(name, source)| ToHash { name: name.into(), source, expected: 0 });
    let hashed = hash_all(&call, sources.into(), &cache).await;
    let whole = Hashed { hash: world.hash, size: world.content.len() as u64 };
    assert_eq!(*hashed[0].as_ref().unwrap(), whole);
    assert_eq!(hashed[1].as_ref().unwrap_err().kind(), Kind::Io);
    let nothing = Hashed { hash: MerkleHash::default(), size: 0 };
    assert_eq!(*hashed[2].as_ref().unwrap(), nothing);
    let told = call.counters.snapshot();
    assert_eq!((told.bytes_completed, told.files_completed), (whole.size, 2));
    assert_eq!(told.bytes_total, whole.size);
}
