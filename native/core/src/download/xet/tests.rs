//! Content that is known by its Xet hash alone, against xet-hub.

use reqwest::header::HeaderMap;
use xet_core_structures::merklehash::compute_data_hash;

use super::*;
use crate::config::Token;
use crate::hub::XetToken;
use crate::world::World;

/// Content comes by its Xet hash alone, without a repo, and is proven by that hash.
#[tokio::test]
async fn content_comes_by_its_hash() {
    let world = World::new().await;
    let cas = world.cas(world.token.clone(), HeaderMap::new());
    let job = world.job("out", world.hash, world.content.len());
    assert!(world.fetch(&cas, &job).await.unwrap() == world.content);
    assert_eq!(job.task.progress.counters().fallbacks(), 0);
}

/// What is wrong is told of the hash and of storage, never of a repo or the Hub, and by a kind that tells what to do.
#[tokio::test]
async fn refusals_speak_of_the_hash() {
    let world = World::new().await;
    let unknown = compute_data_hash(b"nobody has this");
    let bad = XetToken {
        token: Some(Token::new("token", "nonsense-secret").unwrap()),
        ..world.token.clone()
    };
    for (token, hash, kind) in
        [(world.token.clone(), unknown, Kind::NotFound), (bad, world.hash, Kind::Unauthorized)]
    {
        let cas = world.cas(token, HeaderMap::new());
        let job = world.job("out", hash, world.content.len());
        let error = world.fetch(&cas, &job).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        let message = error.to_string();
        assert!(message.contains(&hash.hex()) && message.contains("Xet storage at 127.0.0.1"));
        for word in ["the Hub", "repo", "alice", "secret"] {
            assert!(!message.contains(word), "{message}");
        }
        assert_eq!(error.context().repo, None);
    }
}
