//! What a client does for its cache: usage, verification, pruning, and adding to the reuse index what
//! other clients have put into the cache.

mod asking;
mod cut;

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xet_core_structures::merklehash::MerkleHash;

use self::asking::Asking;
use self::cut::{BOUNDARIES, Cut, UNREADABLE, cut, cut_at};
use crate::cache::gc::inventory::RepoFolder;
use crate::cache::gc::{self, Finding, Inventory, PruneOptions, Pruned, Unwanted, Usage, Verified};
use crate::call::Call;
use crate::call::walk::Walk;
use crate::cas::Cas;
use crate::download::{self, Session};
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::{CommitId, Repo};
use crate::model::told;
use crate::reuse::{Finished, Index, Term};

/// Why a file isn't indexed.
const UNWRITABLE: &str = "the reuse index can't be written to, or the file has changed meanwhile";

/// What is said before the reason why a file was added without its terms.
const AS_A_WHOLE: &str = "it can be used as a whole only";

/// Revisions of a repo that are asked about a content, where the CAS refuses the first: one may be gone from the
/// Hub, of which the others have the same file.
const COMMITS: usize = 3;

/// How much the cache and its reuse index take.
#[derive(Clone, Copy, Debug, Default)]
pub struct CacheUsage {
    /// The cache.
    pub cache: Usage,
    /// What the index takes on the disk.
    pub index_bytes: u64,
    /// Contents that it knows.
    pub indexed_files: u64,
    /// What those have.
    pub indexed_bytes: u64,
}

/// What came of indexing.
#[derive(Clone, Debug, Default)]
pub struct Indexed {
    /// Contents that were added.
    pub files: u64,
    /// What they have.
    pub bytes: u64,
    /// What isn't understood in the cache, files that were looked at and weren't added, and those of which the CAS
    /// gave no terms: they serve as wholes only.
    pub skipped: Vec<Finding>,
}

/// One call that looks after the cache.
pub(crate) struct Maintenance {
    session: Session,
    call: Call,
}

/// A file that may be worth indexing.
struct Indexable {
    repo: Repo,
    /// Revisions that have it. Storage gives content only to those who ask by one of them.
    commits: Vec<CommitId>,
    path: PathBuf,
    size: u64,
    /// As a listing or the shared store says.
    hash: Option<MerkleHash>,
}

impl Maintenance {
    pub(crate) fn new(session: Session, call: Call) -> Self {
        Self { session, call }
    }

    pub(crate) async fn usage(self) -> Result<CacheUsage> {
        let (cache, index) = (Arc::clone(&self.session.cache), self.session.reuse.clone());
        let walk = Walk::new(&self.call);
        let xet_cache = self.session.config.xet_cache.clone();
        self.call
            .blocking("a look at the whole cache", move || {
                let (indexed_files, indexed_bytes) =
                    index.as_ref().map(|index| index.contents()).unwrap_or_default();
                Ok(CacheUsage {
                    cache: Inventory::take(&cache, &walk)?
                        .with_xet_cache(&xet_cache, &walk)?
                        .usage(),
                    index_bytes: index.map(|index| index.disk_bytes()).unwrap_or_default(),
                    indexed_files,
                    indexed_bytes,
                })
            })
            .await
    }

    /// Of everything, or of one repo.
    pub(crate) async fn verify(self, repo: Option<Repo>) -> Result<Verified> {
        let (cache, index) = (Arc::clone(&self.session.cache), self.session.reuse.clone());
        let call = self.call.clone();
        self.call
            .blocking("the disk to hash the cache", move || {
                let mut inventory = Inventory::take(&cache, &Walk::new(&call))?;
                if let Some(repo) = repo {
                    inventory.repos.retain(|found| found.repo == repo);
                    if inventory.repos.is_empty() {
                        return Err(Error::new(
                            Kind::NotFound,
                            format!("{repo} isn't in the cache"),
                        ));
                    }
                    inventory.shared.clear();
                }
                let usage = inventory.usage();
                begin(&call, usage.files, usage.bytes);
                let progress = |bytes| call.counters.add_looked_at(bytes);
                let verified = inventory.verify(&cache, call.cancellation(), progress)?;
                for finding in verified.missing.iter().chain(&verified.left_out) {
                    let (path, reason) = (finding.path.display(), &finding.reason);
                    tracing::warn!(
                        target: told::FINDING, %path, reason,
                        "a cached file isn't verified"
                    );
                }
                for finding in &verified.damaged {
                    let (path, reason) = (finding.path.display(), &finding.reason);
                    tracing::error!(
                        target: told::FINDING, %path, reason,
                        "a cached file is damaged"
                    );
                    if let Some(index) = &index {
                        index.forget_path(&finding.path);
                    }
                }
                Ok(verified)
            })
            .await
    }

    pub(crate) async fn remove(self, unwanted: Unwanted) -> Result<Pruned> {
        let (cache, call) = (Arc::clone(&self.session.cache), self.call.clone());
        self.call
            .blocking(format!("the disk to remove {}", unwanted.repo), move || {
                gc::remove(&cache, &unwanted, &Walk::new(&call))
            })
            .await
    }

    pub(crate) async fn prune(self, limits: PruneOptions) -> Result<Pruned> {
        let (cache, index) = (Arc::clone(&self.session.cache), self.session.reuse.clone());
        let (xet_cache, call) = (self.session.config.xet_cache.clone(), self.call.clone());
        self.call
            .blocking("the disk to remove what nothing refers to", move || {
                let forget = |path: &Path| {
                    if let Some(index) = &index {
                        index.forget_path(path);
                    }
                };
                gc::prune(&cache, &xet_cache, &limits, &forget, &Walk::new(&call))
            })
            .await
    }

    /// Adds to the index what is in the cache and isn't known. `rebuild`: begins with an empty one.
    pub(crate) async fn index(self, rebuild: bool) -> Result<Indexed> {
        let Some(index) = self.session.reuse.clone() else {
            return Err(Error::invalid("XET_FFI_REUSE_INDEX_BYTES", "is 0, so there is no index"));
        };
        let (cache, fresh) = (Arc::clone(&self.session.cache), Arc::clone(&index));
        let walk = Walk::new(&self.call);
        let (candidates, doubts) = self
            .call
            .blocking("a look for files to index", move || {
                if rebuild && !fresh.clear() {
                    let problem = std::io::Error::other("it can't be made anew");
                    return Err(Error::io("write to the reuse index", &fresh.path(), problem));
                }
                candidates(&cache, &fresh, &walk)
            })
            .await?;
        let bytes = candidates.iter().map(|candidate| candidate.size).sum();
        begin(&self.call, candidates.len() as u64, bytes);
        let mut indexed = Indexed { skipped: doubts, ..Indexed::default() };
        let mut asking = Asking::new(&self.session.config);
        for candidate in candidates {
            let skip = |reason: &str| Finding {
                path: candidate.path.clone(),
                bytes: candidate.size,
                reason: reason.to_owned(),
            };
            let cuts = match self.cut_as_published(&candidate, &mut asking).await? {
                Ok(cuts) => cuts,
                Err(reason) => {
                    indexed.skipped.push(skip(&reason));
                    continue;
                }
            };
            let Some(found) = self.find(&candidate, cuts, &mut asking).await? else {
                indexed.skipped.push(skip("it isn't known to be in Xet storage"));
                continue;
            };
            let as_a_whole = found.without.map(|why| skip(&format!("{AS_A_WHOLE}: {why}")));
            let (cut, terms) = (found.cut, found.terms);
            let (index, finding, bytes) = (Arc::clone(&index), skip(UNWRITABLE), candidate.size);
            let taken = self
                .call
                .blocking("the reuse index to take note of a file", move || {
                    let Indexable { path, size, .. } = candidate;
                    let finished = Finished { hash: &cut.hash, size, path: &path, terms };
                    Ok(index.remember(finished, cut.records.into_iter()))
                })
                .await?;
            if taken {
                indexed.files += 1;
                indexed.bytes += bytes;
                indexed.skipped.extend(as_a_whole);
            } else {
                indexed.skipped.push(finding);
            }
        }
        Ok(indexed)
    }

    /// Cuts a file into the chunks that it was published with, or says why that can't be done. Those of a file
    /// of which nobody has said a hash are what each rule makes of it, the likeliest first.
    async fn cut_as_published(
        &self,
        candidate: &Indexable,
        asking: &mut Asking,
    ) -> Result<Result<Vec<Cut>, String>> {
        let (path, size, call) = (candidate.path.clone(), candidate.size, self.call.clone());
        let what = format!("the disk to cut {} into chunks", candidate.path.display());
        let Some(mut cuts) = self.call.blocking(what, move || cut(&path, size, &call)).await?
        else {
            return Ok(Err(UNREADABLE.to_owned()));
        };
        cuts.retain(|cut| candidate.hash.is_none_or(|hash| hash == cut.hash));
        if !cuts.is_empty() {
            return Ok(Ok(cuts));
        }
        Ok(self.cut_as_told(candidate, asking).await?.map(|cut| vec![cut]))
    }

    /// The first of the cuts that is in Xet storage, and its terms; `None` if nobody said that the file is
    /// there, and it isn't. If the CAS can't be asked, it's the likeliest cut, without its terms.
    async fn find(
        &self,
        candidate: &Indexable,
        cuts: Vec<Cut>,
        asking: &mut Asking,
    ) -> Result<Option<ToRemember>> {
        for cut in cuts {
            let without = |cut, why| Ok(Some(ToRemember { cut, terms: Vec::new(), without: why }));
            if let Err(reason) = asking.allowed() {
                return without(cut, reason);
            }
            let (hash, size) = (cut.hash, candidate.size);
            let terms = self.at_a_commit(candidate, |cas| async move {
                download::terms(&cas, hash, size, &self.call).await
            });
            let path = candidate.path.display();
            match asking.note(terms.await)? {
                Ok(terms) => return Ok(Some(ToRemember { cut, terms, without: None })),
                Err(error) if candidate.hash.is_none() && !error.is_transient() => {
                    tracing::debug!(%path, %error, "not in Xet storage");
                }
                Err(error) => {
                    // The whole file can be reused all the same.
                    tracing::warn!(%path, %error, "can't ask for the terms of a file");
                    return without(cut, Some(error.to_string()));
                }
            }
        }
        Ok(None)
    }

    /// Cuts a file that no rule cuts as it was published into the chunks that the CAS says it has.
    async fn cut_as_told(
        &self,
        candidate: &Indexable,
        asking: &mut Asking,
    ) -> Result<Result<Cut, String>> {
        let unknown = |why: Option<String>| {
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            Ok(Err(format!("{BOUNDARIES}{why}")))
        };
        let Some(hash) = candidate.hash else { return unknown(None) };
        if let Err(reason) = asking.allowed() {
            return unknown(reason);
        }
        let (size, counters) = (candidate.size, &self.call.counters);
        let asked = self.at_a_commit(candidate, |cas| async move {
            cas.published_chunks(&hash, size, 0..size, counters).await
        });
        let known = match asking.note(asked.await)? {
            Ok(known) => known,
            Err(error) => {
                let path = candidate.path.display();
                tracing::warn!(%path, %error, "can't ask for the chunks of a file");
                return unknown(Some(error.to_string()));
            }
        };
        let Some(told) = known.all(size) else { return unknown(None) };
        let (path, call) = (candidate.path.clone(), self.call.clone());
        let what = format!("the disk to read {}", path.display());
        let cut = self.call.blocking(what, move || cut_at(&path, &told, hash, &call)).await?;
        Ok(cut.map_err(str::to_owned))
    }

    /// Asks by the revisions that have the content, one after the other, until one isn't refused.
    async fn at_a_commit<T, F>(&self, candidate: &Indexable, ask: impl Fn(Cas) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut refusal = Error::new(Kind::NotFound, "no revision in the cache has it");
        for commit in &candidate.commits {
            match ask(self.session.cas(&candidate.repo, commit)?).await {
                Err(error) if matches!(error.context().http_status, Some(401 | 403 | 404)) => {
                    tracing::debug!(commit = commit.as_str(), %error, "refused by this revision");
                    refusal = error;
                }
                told => return told,
            }
        }
        Err(refusal)
    }
}

/// What is found out about a file.
struct ToRemember {
    cut: Cut,
    terms: Vec<Term>,
    /// Why there are no terms, if somebody wanted them.
    without: Option<String>,
}

fn begin(call: &Call, files: u64, bytes: u64) {
    call.counters.set_totals(u32::try_from(files).unwrap_or(u32::MAX), bytes);
}

/// What is in the cache, large enough, and not in the index; and what isn't understood there.
fn candidates(
    cache: &crate::cache::Cache,
    index: &Index,
    walk: &Walk,
) -> Result<(Vec<Indexable>, Vec<Finding>)> {
    let (mut candidates, mut doubts) = (Vec::new(), Vec::new());
    let mut seen = HashSet::new();
    for repo in Inventory::take(cache, walk)?.repos {
        doubts.extend(repo.doubts.iter().cloned());
        let cached = cache.repo(&repo.repo);
        let mut hashes = HashMap::new();
        for snapshot in &repo.snapshots {
            let Some(commit) = CommitId::parse(&snapshot.commit) else { continue };
            let listing = cached.read_tree(&commit).unwrap_or_else(|error| {
                doubts.push(Finding::hidden(&snapshot.folder, &error));
                None
            });
            for entry in listing.map(|listing| listing.entries).unwrap_or_default() {
                hashes.extend(entry.xet_hash().map(|hash| (entry.etag().to_owned(), *hash)));
            }
        }
        let commits = commits(&repo);
        for (etag, blob) in repo.blobs {
            walk.step()?;
            // Git blobs aren't in Xet storage.
            if etag.len() != 64 || !Index::is_for(blob.size) {
                continue;
            }
            let Ok(path) = std::fs::canonicalize(&blob.path) else { continue };
            let shared = blob.shared.and_then(|hash| MerkleHash::from_hex(&hash).ok());
            let hash = hashes.get(&etag).copied().or(shared);
            let is_known = hash.is_some_and(|hash| index.has(&hash, &path));
            if !is_known && seen.insert(path.clone()) {
                let commits = commits.get(&etag).cloned().unwrap_or_default();
                let repo = repo.repo.clone();
                candidates.push(Indexable { repo, commits, path, size: blob.size, hash });
            }
        }
    }
    Ok((candidates, doubts))
}

/// The revisions that have a content, by its etag, and of those a few that the Hub likeliest has, too: what a ref
/// names comes first, then what was made last.
fn commits(repo: &RepoFolder) -> HashMap<String, Vec<CommitId>> {
    let mut snapshots: Vec<_> = repo.snapshots.iter().collect();
    snapshots.sort_by_key(|snapshot| {
        (!repo.refs.contains_key(&snapshot.commit), Reverse(snapshot.changed))
    });
    let mut commits: HashMap<String, Vec<CommitId>> = HashMap::new();
    for snapshot in snapshots {
        let Some(commit) = CommitId::parse(&snapshot.commit) else { continue };
        for (_, etag) in &snapshot.pointers {
            let known = commits.entry(etag.clone()).or_default();
            if known.len() < COMMITS && known.last() != Some(&commit) {
                known.push(commit.clone());
            }
        }
    }
    commits
}
