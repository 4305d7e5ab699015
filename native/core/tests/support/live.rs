//! A running xet-hub: a Hub with storage and CAS on origins of their own.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use xet_ffi_core::hub::Hub;

use super::{config, hub_of};

/// A user who may write to her own repos.
pub const ALICE: &str = "hf_alice";
/// A user who owns nothing.
pub const BOB: &str = "hf_bob";

/// An xet-hub with a folder of its own. Ends, folder and all, when dropped.
pub struct LiveHub {
    process: Child,
    pub endpoint: String,
    pub cas: String,
    http: reqwest::Client,
    _data: TempDir,
}

impl LiveHub {
    /// Starts one, and waits until it listens. `arguments` are added to its command line.
    pub fn start(arguments: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut process = Command::new(binary())
            .args(["serve", "--print-ready", "json", "--data"])
            .arg(data.path())
            .args(["--token", &format!("alice:{ALICE}"), "--token", &format!("bob:{BOB}")])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("xet-hub doesn't start");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).expect("xet-hub isn't ready");
        let text = |name: &str| ready[name].as_str().unwrap().to_owned();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        Self { process, endpoint: text("endpoint"), cas: text("cas"), http, _data: data }
    }

    /// A client of this Hub, signed in with `token` if there is one.
    pub fn client(&self, token: Option<&str>) -> Hub {
        hub_of(config(&self.endpoint, token))
    }

    /// Makes a request as Alice, and returns the JSON of its answer, which must be a success.
    pub async fn ask(&self, method: Method, path: &str, body: impl Into<reqwest::Body>) -> Value {
        let request = self
            .http
            .request(method, format!("{}{path}", self.endpoint))
            .bearer_auth(ALICE)
            .header("Content-Type", "application/json")
            .body(body);
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    pub async fn post(&self, path: &str, body: Value) -> Value {
        self.ask(Method::POST, path, body.to_string()).await
    }

    /// Creates a repo of Alice's, without any file.
    pub async fn create(&self, kind: &str, name: &str, private: bool) {
        let body = json!({"name": name, "type": kind, "private": private});
        self.post("/api/repos/create", body).await;
    }

    /// Commits plain files to `revision` of a repo, named as in the API (`models/alice/x`). Returns
    /// the answer.
    pub async fn commit(&self, repo: &str, revision: &str, files: &[(&str, &[u8])]) -> Value {
        let lines = files.iter().map(|(path, content)| {
            let content = BASE64.encode(content);
            json!({"key": "file", "value": {"path": path, "content": content, "encoding": "base64"}})
        });
        self.commit_lines(repo, revision, lines).await
    }

    /// Commits one file over LFS: the object goes to storage, the commit names it.
    pub async fn commit_lfs(&self, repo: &str, path: &str, content: &[u8]) -> Value {
        let hex = |oid: String, byte: &u8| oid + &format!("{byte:02x}");
        let oid = Sha256::digest(content).iter().fold(String::new(), hex);
        let object = json!({"oid": oid, "size": content.len()});
        let batch = json!({"operation": "upload", "transfers": ["basic"], "objects": [object]});
        let web = repo.trim_start_matches("models/");
        let answer = self.post(&format!("/{web}.git/info/lfs/objects/batch"), batch).await;
        let href = answer["objects"][0]["actions"]["upload"]["href"].as_str().unwrap();
        let put = self.http.put(href).body(content.to_vec()).send().await.unwrap();
        assert!(put.status().is_success(), "{}", put.status());
        let file = json!({"path": path, "algo": "sha256", "oid": oid, "size": content.len()});
        self.commit_lines(repo, "main", [json!({"key": "lfsFile", "value": file})]).await
    }

    async fn commit_lines(
        &self,
        repo: &str,
        revision: &str,
        lines: impl IntoIterator<Item = Value>,
    ) -> Value {
        let header = json!({"key": "header", "value": {"summary": "test", "description": ""}});
        let lines = std::iter::once(header).chain(lines);
        let body: String = lines.map(|line| line.to_string() + "\n").collect();
        self.ask(Method::POST, &format!("/api/{repo}/commit/{revision}"), body).await
    }

    /// Changes switches of a repo, named with its type in the singular (`model/alice/x`).
    pub async fn set(&self, repo: &str, switches: Value) {
        let path = format!("/_hub/repos/{repo}/settings");
        self.ask(Method::PUT, &path, switches.to_string()).await;
    }

    /// The server's counters.
    pub async fn stats(&self) -> Value {
        self.ask(Method::GET, "/_hub/stats", "").await
    }

    /// Sets the counters to zero.
    pub async fn reset_stats(&self) {
        self.ask(Method::POST, "/_hub/stats/reset", "").await;
    }
}

impl Drop for LiveHub {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// `$XET_HUB_BINARY`, else the release build beside this crate.
fn binary() -> PathBuf {
    let built = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/release/xet-hub");
    let binary = std::env::var_os("XET_HUB_BINARY").map_or_else(built, PathBuf::from);
    assert!(
        binary.is_file(),
        "no {}: set XET_HUB_BINARY, or run `cargo build --release -p xet-hub`",
        binary.display()
    );
    binary
}
