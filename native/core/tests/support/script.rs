//! A server that does what no honest one does: it stalls, lies, breaks off, or sends its clients
//! elsewhere.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A request that arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// From 0, in the order of arrival.
    pub number: usize,
    pub method: String,
    /// With the query.
    pub target: String,
    headers: Vec<(String, String)>,
}

impl Received {
    /// The names of all headers, in lower case and order.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.headers.iter().map(|(n, _)| n.to_ascii_lowercase()).collect();
        names.sort();
        names
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

/// What happens when the reply has been sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Close,
    /// Nothing more comes, until the client gives up.
    Stall,
}

/// What a scripted server says.
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// What Content-Length claims.
    length: usize,
    then: Then,
    silent: bool,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        let (headers, body) = (Vec::new(), Vec::new());
        Self { status, headers, body, length: 0, then: Then::Close, silent: false }
    }

    pub fn json(value: &serde_json::Value) -> Self {
        Self::status(200).header("Content-Type", "application/json").body(value.to_string())
    }

    pub fn redirect(location: &str) -> Self {
        Self::status(302).header("Location", location).body("Found.")
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.length = self.body.len();
        self
    }

    /// Claims `missing` more bytes than it sends, then closes.
    pub fn broken_off(mut self, missing: usize) -> Self {
        self.length = self.body.len() + missing;
        self
    }

    /// Claims `missing` more bytes than it sends, then does nothing.
    pub fn stalled(self, missing: usize) -> Self {
        Self { then: Then::Stall, ..self.broken_off(missing) }
    }

    /// Takes the request and says nothing at all.
    pub fn silence() -> Self {
        Self { then: Then::Stall, silent: true, ..Self::status(200) }
    }

    fn send(&self, stream: &mut TcpStream, head_only: bool) -> std::io::Result<()> {
        if !self.silent {
            let headers: String =
                self.headers.iter().map(|(n, v)| n.clone() + ": " + v + "\r\n").collect();
            let (status, length) = (self.status, self.length);
            write!(
                stream,
                "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
            )?;
            if !head_only {
                stream.write_all(&self.body)?;
            }
            stream.flush()?;
        }
        if self.then == Then::Stall {
            // Ends when the client closes its side.
            stream.read_to_end(&mut Vec::new())?;
        }
        Ok(())
    }
}

type Answer = dyn Fn(&Received) -> Reply + Send + Sync;

/// A running server. Stops when dropped.
pub struct Script {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    stopped: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Script {
    /// Answers each request as `answer` says, each on a connection of its own.
    pub fn new(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let stopped = Arc::new(AtomicBool::new(false));
        let (answer, log, stop): (Arc<Answer>, _, _) =
            (Arc::new(answer), Arc::clone(&received), Arc::clone(&stopped));
        let acceptor = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                // A client may leave at any point; that is the test's business, not the server's.
                std::thread::spawn(move || serve(stream.unwrap(), &answer, &log).ok());
            }
        });
        Self { address, received, stopped, acceptor: Some(acceptor) }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All requests so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the acceptor.
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().ok();
        }
    }
}

fn serve(
    mut stream: TcpStream,
    answer: &Arc<Answer>,
    log: &Mutex<Vec<Received>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut words = first.split(' ').map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(()) };
    let mut headers = Vec::new();
    for line in lines {
        match line?.split_once(": ") {
            Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
            None => break,
        }
    }
    let request = {
        let mut log = log.lock().unwrap();
        let number = log.len();
        log.push(Received { number, method, target, headers });
        log[number].clone()
    };
    answer(&request).send(&mut stream, request.method == "HEAD")
}

/// The URL of a port that nobody listens on.
pub fn refusing_url() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}
