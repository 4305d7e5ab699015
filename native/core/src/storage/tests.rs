//! Storages as a program uses them: groups and streams, on a folder and on xet-hub.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::call::CallerToken;
use crate::call::progress::Progress;
use crate::config::Token;
use crate::support::config;
use crate::support::live::ALICE;
use crate::upload::Borrowed;
use crate::world::World;

/// A client with nothing of the machine's, and a folder that is a storage.
struct Machine {
    folder: TempDir,
    client: Client,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            hub_cache: folder.path().join("hub"),
            xet_cache: folder.path().join("xet"),
            ..config("http://127.0.0.1:1", None)
        };
        Self { client: Client::of(config), folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn storage(&self) -> Storage {
        let endpoint = Some(format!("local://{}", self.path("cas").display()));
        let options = StorageOptions { endpoint, ..StorageOptions::default() };
        self.client.open_storage(&options, &mut ()).unwrap()
    }

    /// Puts a content into the storage.
    fn store(&self, content: &[u8]) -> MerkleHash {
        let group = self.storage().begin_group(GroupKind::Uploads, None).unwrap();
        group.add_upload(upload("stored", memory(content))).unwrap();
        let report = group.wait(&mut ()).unwrap();
        content_hash("hash", report.tasks[0].hash.as_ref().unwrap()).unwrap()
    }

    /// What of other downloads is still here.
    fn kept(&self) -> Vec<String> {
        let names = fs::read_dir(self.path("xet/xet-ffi/incomplete")).into_iter().flatten();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn memory(content: &[u8]) -> UploadSource {
    UploadSource::Memory(Borrowed::owned(Bytes::copy_from_slice(content)))
}

fn upload(name: &str, source: UploadSource) -> NewUpload {
    NewUpload { name: name.to_owned(), source, sha256: UploadSha256::Computed }
}

fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(size).collect()
}

fn states(report: &GroupReport) -> Vec<TaskState> {
    report.tasks.iter().map(|task| task.state).collect()
}

/// Each file has its own result: what fails takes nothing else along, on the way in and on the way out.
#[test]
fn files_go_in_and_out_each_by_itself() {
    let machine = Machine::new();
    let (big, small) = (noise(1, 3 << 20), noise(2, 1000));
    fs::write(machine.path("source"), &big).unwrap();
    let group = machine.storage().begin_group(GroupKind::Uploads, None).unwrap();
    group.add_upload(upload("file", UploadSource::Path(machine.path("source")))).unwrap();
    group.add_upload(upload("none", UploadSource::Path(machine.path("none")))).unwrap();
    group.add_upload(upload("memory", memory(&small))).unwrap();
    let stream = group.add_upload(upload("stream", UploadSource::Stream)).unwrap();
    let open = group.add_upload(upload("open", UploadSource::Stream)).unwrap();
    for piece in big.chunks(100_000) {
        group.write(stream, piece).unwrap();
    }
    group.end_stream(stream).unwrap();
    let known = group.wait_task(stream, &mut ()).unwrap();
    assert_eq!(states(&known), [TaskState::Finalizing], "its hash is known before its end");
    assert_eq!(group.report().unwrap().state, TaskState::Running);
    assert_eq!(group.write(stream, b"more").unwrap_err().kind(), Kind::InvalidArgument);
    group.write(open, b"some").unwrap();
    let stored = group.wait(&mut ()).unwrap();
    let (done, failed) = (TaskState::Done, TaskState::Failed);
    assert_eq!(states(&stored), [done, failed, done, done, failed]);
    assert_eq!((stored.state, stored.failed), (done, 2));
    assert_eq!(stored.tasks[0].hash, stored.tasks[3].hash);
    assert_eq!(stored.dedup.unwrap().total_bytes, 2 * big.len() as u64 + 1000);
    assert!(group.add_upload(upload("late", memory(b"x"))).is_err());

    let hash =
        |task: usize| content_hash("hash", stored.tasks[task].hash.as_ref().unwrap()).unwrap();
    fs::write(machine.path("old"), "old").unwrap();
    fs::set_permissions(machine.path("old"), fs::Permissions::from_mode(0o600)).unwrap();
    symlink("linked", machine.path("link")).unwrap();
    fs::create_dir(machine.path("folder")).unwrap();
    let wanted = [
        ("big", hash(0), Some(big.len() as u64)),
        ("again", hash(0), None),
        ("old", hash(2), Some(1000)),
        ("link", hash(2), Some(1000)),
        ("empty", MerkleHash::default(), None),
        ("folder", hash(2), Some(1000)),
        ("nowhere/file", hash(2), Some(1000)),
        ("wrong-size", hash(0), Some(77)),
        ("nothing", MerkleHash::from([1; 4]), None),
    ];
    let group = machine.storage().begin_group(GroupKind::Downloads, None).unwrap();
    for (name, hash, size) in wanted {
        let wanted = Download { hash, size, path: machine.path(name) };
        group.add_download(&wanted).unwrap();
    }
    let report = group.wait(&mut ()).unwrap();
    let kinds: Vec<_> =
        report.tasks.iter().map(|task| task.error.as_ref().map(Error::kind)).collect();
    let (io, bad, none) = (Some(Kind::Io), Some(Kind::InvalidArgument), Some(Kind::NotFound));
    assert_eq!(kinds, [None, None, None, None, None, io, io, bad, none]);
    let message = report.tasks[7].error.as_ref().unwrap().message().to_owned();
    assert!(message.contains("77") && message.contains(&big.len().to_string()), "{message}");
    for name in ["big", "again"] {
        assert!(fs::read(machine.path(name)).unwrap() == big, "{name}");
    }
    for name in ["old", "linked"] {
        assert_eq!(fs::read(machine.path(name)).unwrap(), small, "{name}");
    }
    assert!(machine.path("link").is_symlink());
    assert_eq!(fs::read(machine.path("empty")).unwrap(), b"");
    let mode = fs::metadata(machine.path("old")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "a file that is replaced keeps its permissions");
    assert!(!machine.path("wrong-size").exists() && !machine.path("nothing").exists());
    assert_eq!(machine.kept(), Vec::<String>::new());
}

/// A task that is cancelled leaves the others alone; a group that is takes them all along.
#[test]
fn tasks_and_groups_are_cancelled() {
    let machine = Machine::new();
    let group = machine.storage().begin_group(GroupKind::Uploads, None).unwrap();
    let first = group.add_upload(upload("first", UploadSource::Stream)).unwrap();
    group.add_upload(upload("second", memory(b"content"))).unwrap();
    group.cancel(Some(first)).unwrap();
    assert_eq!(group.write(first, b"x").unwrap_err().kind(), Kind::Cancelled);
    let report = group.wait(&mut ()).unwrap();
    assert_eq!(states(&report), [TaskState::Cancelled, TaskState::Done]);
    assert!(group.cancel(Some(7)).is_err());

    let group = machine.storage().begin_group(GroupKind::Uploads, None).unwrap();
    group.add_upload(upload("first", UploadSource::Stream)).unwrap();
    group.cancel(None).unwrap();
    assert_eq!(group.report().unwrap().state, TaskState::Cancelled, "at once");
    assert_eq!(group.wait(&mut ()).unwrap_err().kind(), Kind::Cancelled);
    assert_eq!(group.wait(&mut ()).unwrap_err().kind(), Kind::Cancelled, "it stays so");
    let report = group.report().unwrap();
    assert_eq!((report.state, states(&report)), (TaskState::Cancelled, vec![TaskState::Cancelled]));
}

/// A group that waits for its caller isn't stuck; one whose time is over says so, to all who wait.
#[test]
fn a_group_that_waits_for_its_caller_has_time() {
    let machine = Machine::new();
    let timeout = Some(Duration::from_millis(200));
    let group = machine.storage().begin_group(GroupKind::Downloads, timeout).unwrap();
    assert!(group.waits_for_its_caller());
    assert_eq!(group.serve(&mut ()).unwrap_err().kind(), Kind::Timeout);
    assert_eq!(group.wait(&mut ()).unwrap_err().kind(), Kind::Timeout);
    let path = machine.path("late");
    let late = Download { hash: MerkleHash::default(), size: None, path };
    assert_eq!(group.add_download(&late).unwrap_err().kind(), Kind::Timeout);
    assert_eq!(group.report().unwrap().state, TaskState::Failed);
}

fn options(hash: MerkleHash, range: std::ops::Range<u64>, unordered: bool) -> StreamOptions {
    StreamOptions { hash, size: None, range, unordered, timeout: None }
}

/// All pieces of a stream by where they begin, and the order in which they came.
fn read(stream: &Stream) -> Result<(Vec<u64>, BTreeMap<u64, Bytes>)> {
    let (mut order, mut pieces) = (Vec::new(), BTreeMap::new());
    while let Some(Piece { offset, bytes }) = stream.next(&mut ())? {
        order.push(offset);
        assert!(!bytes.is_empty() && pieces.insert(offset, bytes).is_none());
    }
    Ok((order, pieces))
}

/// Any part of a content is read, in order or not, each byte once.
#[test]
fn parts_of_contents_are_read() {
    let machine = Machine::new();
    let content = noise(3, 9_000_000);
    let hash = machine.store(&content);
    let size = content.len() as u64;
    let ranges =
        [0..size, 0..u64::MAX, 1..2, 999_999..5_000_001, size - 1..size + 9, 7..7, size..size + 1];
    for range in ranges {
        for unordered in [false, true] {
            let stream = machine.storage().open_stream(options(hash, range.clone(), unordered));
            let (order, pieces) = read(&stream.unwrap()).unwrap();
            let at = |at: u64| usize::try_from(at.min(size)).unwrap();
            let start = at(range.start);
            let expected = &content[start..at(range.end).max(start)];
            assert_eq!(pieces.keys().next().copied().unwrap_or(range.start), range.start);
            let read: Vec<u8> = pieces.values().flatten().copied().collect();
            assert!(read == expected, "{range:?}");
            assert!(unordered || order.is_sorted(), "{range:?}");
        }
    }
    let backwards =
        machine.storage().open_stream(options(hash, std::ops::Range { start: 2, end: 1 }, false));
    assert_eq!(backwards.unwrap_err().kind(), Kind::InvalidArgument);
    let stream = machine.storage().open_stream(options(hash, 0..size, false)).unwrap();
    assert!(stream.next(&mut ()).unwrap().is_some());
    stream.cancel();
    assert!(stream.next(&mut ()).unwrap().is_none(), "a cancelled stream is at its end");
    let nothing = MerkleHash::from([1; 4]);
    let stream = machine.storage().open_stream(options(nothing, 0..size, false)).unwrap();
    for _ in 0..2 {
        assert_eq!(stream.next(&mut ()).unwrap_err().kind(), Kind::NotFound);
    }
}

/// Whoever reads says when to stop, and is told so.
#[test]
fn a_reader_cancels_its_stream() {
    struct Stops;
    impl Observer for Stops {
        fn cancelled(&mut self) -> bool {
            true
        }
    }
    let machine = Machine::new();
    let hash = machine.store(&noise(4, 100_000));
    let stream = machine.storage().open_stream(options(hash, 0..u64::MAX, false)).unwrap();
    assert_eq!(stream.next(&mut Stops).unwrap_err().kind(), Kind::Cancelled);
    assert_eq!(stream.next(&mut ()).unwrap_err().kind(), Kind::Cancelled);
}

/// Gives tokens when it's asked a third time, and counts.
struct Gives {
    token: String,
    asked: u32,
}

impl Observer for Gives {
    fn progress(&mut self, _: &Progress, _: bool) {}

    fn token(&mut self) -> Result<Poll<CallerToken>> {
        self.asked += 1;
        if self.asked < 3 {
            return Ok(Poll::Pending);
        }
        Ok(Poll::Ready(CallerToken { token: self.token.clone(), expires: u64::MAX }))
    }
}

/// Tokens come from wherever they are said to, and one that is over isn't used.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_come_from_a_url_the_caller_or_once() {
    let world = World::new().await;
    let (cas, secret) = (world.token.cas_url.to_string(), world.token.token.clone().unwrap());
    let folder = world.folder.path().to_owned();
    let api = format!("{}/api/models/alice/x/xet-read-token/main", world.server.endpoint);
    let (hash, size, content) = (world.hash, world.content.len() as u64, world.content.clone());
    let (path, over) = (folder.join("out"), Some(1));
    let login = vec![("Authorization".to_owned(), format!("Bearer {ALICE}"))];
    let fresh = GivenToken { token: secret.clone(), expires: Some(u64::MAX) };
    let stale = GivenToken { token: Token::new("t", "stale").unwrap(), expires: over };
    let empty = StorageOptions::default;
    let endpoint = move || Some(cas.clone());
    let cases = [
        // All that is known is where to ask.
        (StorageOptions { refresh: Some((api.clone(), login.clone())), ..empty() }, None, 0),
        (StorageOptions { endpoint: endpoint(), token: Some(fresh), ..empty() }, None, 0),
        (StorageOptions { endpoint: endpoint(), asks_caller: true, ..empty() }, None, 3),
        (
            StorageOptions {
                endpoint: endpoint(),
                token: Some(stale.clone()),
                refresh: Some((api.clone(), login)),
                ..empty()
            },
            None,
            0,
        ),
        (
            StorageOptions { endpoint: endpoint(), token: Some(stale), ..empty() },
            Some(Kind::Unauthorized),
            0,
        ),
        (StorageOptions { endpoint: endpoint(), ..empty() }, Some(Kind::Unauthorized), 0),
    ];
    tokio::task::spawn_blocking(move || {
        for (number, (options, expected, asked)) in cases.into_iter().enumerate() {
            let config = Config {
                hub_cache: folder.join("hub"),
                xet_cache: folder.join(format!("xet-{number}")),
                ..config("http://127.0.0.1:1", None)
            };
            let client = Client::of(config);
            let storage = client.open_storage(&options, &mut ()).unwrap();
            let group = storage.begin_group(GroupKind::Downloads, None).unwrap();
            let wanted = Download { hash, size: Some(size), path: path.clone() };
            group.add_download(&wanted).unwrap();
            let mut gives = Gives { token: secret.secret().to_owned(), asked: 0 };
            let report = group.wait(&mut gives).unwrap();
            let kind = report.tasks[0].error.as_ref().map(Error::kind);
            assert_eq!((kind, gives.asked), (expected, asked), "{number}: {:?}", report.tasks[0]);
            assert_eq!(kind.is_none(), fs::read(&path).is_ok_and(|read| read == content));
            let _ = fs::remove_file(&path);
        }
        // Whoever waits gets the token, also for a group that nobody waits for.
        let config = Config {
            hub_cache: folder.join("hub"),
            xet_cache: folder.join("xet-other"),
            ..config("http://127.0.0.1:1", None)
        };
        let client = Client::of(config);
        let asks = StorageOptions { endpoint: endpoint(), asks_caller: true, ..empty() };
        let storage = client.open_storage(&asks, &mut ()).unwrap();
        let group = storage.begin_group(GroupKind::Downloads, None).unwrap();
        group.add_download(&Download { hash, size: Some(size), path }).unwrap();
        let stream = storage.open_stream(options(hash, 0..u64::MAX, false)).unwrap();
        let mut gives = Gives { token: secret.secret().to_owned(), asked: 0 };
        assert!(stream.next(&mut gives).unwrap().is_some());
    })
    .await
    .unwrap();
}

/// Where the network is switched off, a folder is a storage like any other.
#[test]
fn offline_there_are_folders_alone() {
    let machine = Machine::new();
    let hash = machine.store(b"content");
    let config = Config { offline: true, ..machine.client.config().clone() };
    let (client, empty) = (Client::of(config), StorageOptions::default);
    let endpoint = Some("http://127.0.0.1:1".to_owned());
    let away = client.open_storage(&StorageOptions { endpoint, ..empty() }, &mut ()).unwrap();
    let (downloads, range) = (GroupKind::Downloads, 0..u64::MAX);
    assert_eq!(away.begin_group(downloads, None).unwrap_err().kind(), Kind::Offline);
    assert_eq!(
        away.open_stream(options(hash, range.clone(), false)).unwrap_err().kind(),
        Kind::Offline
    );
    let refresh = Some(("http://127.0.0.1:1".to_owned(), Vec::new()));
    let asking = client.open_storage(&StorageOptions { refresh, ..empty() }, &mut ());
    assert_eq!(asking.unwrap_err().kind(), Kind::Offline);
    let endpoint = Some(format!("local://{}", machine.path("cas").display()));
    let here = client.open_storage(&StorageOptions { endpoint, ..empty() }, &mut ()).unwrap();
    let (_, pieces) = read(&here.open_stream(options(hash, range, false)).unwrap()).unwrap();
    assert_eq!(pieces[&0], b"content"[..]);
}

/// What can't be meant is told by the name of its field, and shows no secret.
#[test]
fn odd_options_are_told() {
    let machine = Machine::new();
    let header = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let url = || Some("http://127.0.0.1:1".to_owned());
    let empty = StorageOptions::default;
    for (options, field) in [
        (StorageOptions { endpoint: Some("nonsense".into()), ..empty() }, "options.endpoint"),
        (StorageOptions { endpoint: Some("ftp://host".into()), ..empty() }, "options.endpoint"),
        (StorageOptions { endpoint: Some("local://".into()), ..empty() }, "options.endpoint"),
        (
            StorageOptions { refresh: Some(("secret".into(), Vec::new())), ..empty() },
            "options.refresh_url",
        ),
        (
            StorageOptions {
                refresh: Some(("http://127.0.0.1:1".into(), Vec::new())),
                asks_caller: true,
                ..empty()
            },
            "options.refresh_url",
        ),
        (
            StorageOptions { endpoint: url(), headers: header("a b", "secret"), ..empty() },
            "options.headers[0]",
        ),
        (
            StorageOptions { endpoint: url(), headers: header("a", "secret\nsecret"), ..empty() },
            "options.headers[0]",
        ),
    ] {
        let error = machine.client.open_storage(&options, &mut ()).unwrap_err();
        assert_eq!(error.context().field.as_deref(), Some(field), "{error}");
        assert!(!error.message().contains("secret"), "{error}");
    }
    for digits in ["", "1", &"g".repeat(64), &"1".repeat(65)] {
        assert_eq!(content_hash("hash", digits).unwrap_err().kind(), Kind::InvalidArgument);
    }
    let upper = "AB".repeat(32);
    assert_eq!(content_hash("hash", &upper).unwrap().hex(), upper.to_lowercase());
}

/// A content is kept as long as there is room for it, and nobody is too late.
#[test]
fn what_nobody_comes_back_for_goes() {
    use std::time::SystemTime;
    let machine = Machine::new();
    let (cache, folder) = (machine.path("xet"), machine.path("xet/xet-ffi/incomplete"));
    fs::create_dir_all(&folder).unwrap();
    let day = Duration::from_hours(24);
    let write = |name: &str, age: Duration| {
        let hash = name.repeat(64);
        let path = folder.join(format!("{hash}.partial"));
        fs::write(&path, noise(1, 1 << 20)).unwrap();
        fs::write(folder.join(format!("{hash}.partial.chunks")), "notes").unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    };
    for (name, age) in [("a", day * 30), ("b", day * 3), ("c", day * 2), ("d", day)] {
        write(name, age);
    }
    let held =
        crate::sys::lock::FileLock::try_acquire(&folder.join(format!("{}.lock", "b".repeat(64))));
    let held = held.unwrap();
    let left = || {
        let mut left: Vec<_> = machine.kept();
        for name in &mut left {
            name.drain(1..64);
        }
        left.sort();
        left
    };
    kept::tidy(&cache, u64::MAX);
    assert!(!left().iter().any(|name| name.starts_with('a')), "it's old");
    // Notes take space, too.
    kept::tidy(&cache, (2 << 20) + (64 << 10));
    // Somebody is at work on the oldest one.
    let expected = ["b.lock", "b.partial", "b.partial.chunks", "d.partial", "d.partial.chunks"];
    assert_eq!(left(), expected);
    drop(held);
    kept::tidy(&cache, 0);
    assert_eq!(left(), Vec::<String>::new());
}
