//! Files of one batch that are the same: sent once.
//!
//! xet-core deduplicates against xorbs that are complete, so of two small files with the same
//! content that are uploaded at the same time it would send both.

use std::collections::HashMap;

use bytes::Bytes;

use super::super::content::UploadContent;
use super::super::item::Item;
use crate::call::Call;
use crate::model::error::Result;

/// How much of a file is compared before all of it is hashed, at its start, middle and end.
const PROBE: u64 = 16 << 10;

/// For each item, the number of an earlier one with the same content. Hashes those that could be
/// the same, and so need not be hashed again. Blocking.
pub(super) fn find(items: &mut [Item], call: &Call) -> Result<Vec<Option<usize>>> {
    let mut by_size: HashMap<u64, Vec<usize>> = HashMap::new();
    for (index, item) in items.iter().enumerate() {
        by_size.entry(item.content.size()).or_default().push(index);
    }
    let mut duplicates = vec![None; items.len()];
    for same_size in by_size.into_values().filter(|indices| indices.len() > 1) {
        let mut by_probe: HashMap<Vec<Bytes>, Vec<usize>> = HashMap::new();
        for index in same_size {
            call.beat();
            by_probe.entry(probe(&items[index].content)?).or_default().push(index);
        }
        for alike in by_probe.into_values().filter(|indices| indices.len() > 1) {
            let mut by_hash: HashMap<String, usize> = HashMap::new();
            for index in alike {
                let item = &mut items[index];
                let hash = match &item.sha256 {
                    Some(hash) => hash.clone(),
                    None => item.content.sha256(call)?,
                };
                item.sha256 = Some(hash.clone());
                duplicates[index] = by_hash.get(&hash).copied();
                by_hash.entry(hash).or_insert(index);
            }
        }
    }
    Ok(duplicates)
}

fn probe(content: &UploadContent) -> Result<Vec<Bytes>> {
    let size = content.size();
    let length = size.min(PROBE);
    let places = [0, (size - length) / 2, size - length];
    let read = |place| {
        let most = usize::try_from(length).unwrap_or_default();
        Ok(content.read_from(place, length)?.next(most)?.unwrap_or_default())
    };
    places.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {

    use super::super::super::borrowed::Borrowed;
    use super::*;
    use crate::model::repo::RepoPath;

    /// Only equal content makes duplicates: not equal size, nor equal probes.
    #[test]
    fn twins_have_the_same_content() {
        let call = Call::default();
        let alike = |odd: usize| {
            let mut bytes = vec![7_u8; 200_000];
            bytes[odd] = 8;
            bytes
        };
        // All but the last two are the same where the probe looks.
        let contents = [alike(50_000), alike(50_001), alike(50_000), alike(0), vec![1], vec![1]];
        let mut items: Vec<Item> = contents
            .into_iter()
            .map(|bytes| Item {
                path: RepoPath::new("x").unwrap(),
                progress: call.counters.begin_file("x", bytes.len() as u64),
                content: UploadContent::of_memory(Borrowed::owned(bytes.into())),
                sha256: None,
            })
            .collect();
        let duplicates = find(&mut items, &call).unwrap();
        assert_eq!(duplicates, [None, None, Some(0), None, None, Some(4)]);
        let hashed: Vec<bool> = items.iter().map(|item| item.sha256.is_some()).collect();
        assert_eq!(hashed, [true, true, true, false, true, true]);
    }
}
