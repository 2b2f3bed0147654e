//! A viewer over a home, and a client that can send any request.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use scraper::{Html, Selector};
use selvedge_protocol::{ArchivedFilter, StoredThread, ThreadQuery};
use selvedge_thread_manager::ThreadManager;
use selvedge_thread_store::{ThreadReader, ThreadStore};
use selvedge_thread_store_local::LocalThreadStore;
use selvedge_viewer::{Viewer, ViewerOptions};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long an answer may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running viewer, with a home that is deleted at the end.
pub(crate) struct TestViewer {
    pub(crate) viewer: Viewer,
    pub(crate) store: LocalThreadStore,
    pub(crate) manager: Arc<ThreadManager>,
    pub(crate) home: TempDir,
    pub(crate) token: String,
    /// `127.0.0.1:PORT`.
    pub(crate) host: String,
}

/// An answer of the server.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// Returns the value of a header, and an empty text if there is none.
    pub(crate) fn header(&self, name: &str) -> String {
        let named = |line: &str| {
            line.split_once(": ")
                .filter(|(found, _)| found.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.to_owned())
        };
        self.head.lines().find_map(named).unwrap_or_default()
    }

    /// Parses the page, as a browser does. Fails if it is not valid.
    pub(crate) fn page(&self) -> Html {
        let page = Html::parse_document(&self.text());
        assert!(page.errors.is_empty(), "{:?} in {}", page.errors, self.text());
        page
    }

    pub(crate) fn part(&self) -> Html {
        Html::parse_fragment(&self.text())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl TestViewer {
    pub(crate) async fn empty() -> Self {
        Self::start(tempfile::tempdir().unwrap(), ViewerOptions::default()).await
    }

    pub(crate) async fn that_writes() -> Self {
        let options = ViewerOptions { write: true, ..ViewerOptions::default() };
        Self::start(tempfile::tempdir().unwrap(), options).await
    }

    pub(crate) async fn on_all_interfaces() -> Self {
        let options = ViewerOptions { address: "0.0.0.0:0".parse().unwrap(), ..ViewerOptions::default() };
        Self::start(tempfile::tempdir().unwrap(), options).await
    }

    /// A viewer over a copy of a recording.
    pub(crate) async fn of_sample(name: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        copy(&samples().join(name).join("home"), home.path());
        Self::start(home, ViewerOptions::default()).await
    }

    async fn start(home: TempDir, options: ViewerOptions) -> Self {
        let store = LocalThreadStore::open(home.path());
        let shared: Arc<dyn ThreadStore> = Arc::new(store.clone());
        let manager = Arc::new(ThreadManager::new(shared));
        let viewer = Viewer::start(Arc::clone(&manager), options).await.unwrap();
        let url = viewer.url().to_owned();
        let (host, token) = url.strip_prefix("http://").unwrap().split_once("/?token=").unwrap();
        Self { host: host.to_owned(), token: token.to_owned(), viewer, store, manager, home }
    }

    pub(crate) fn cookie(&self) -> String {
        format!("selvedge-{}={}", self.host.rsplit_once(':').unwrap().1, self.token)
    }

    /// Asks as a browser that has the cookie.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[("Host", &self.host), ("Cookie", &self.cookie())], "").await
    }

    /// Asks, and fails unless the answer is a valid page.
    pub(crate) async fn page(&self, path: &str) -> Html {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.page()
    }

    /// Sends a form as a browser that has the cookie.
    pub(crate) async fn post(&self, path: &str, form: &str) -> Answer {
        let origin = format!("http://{}", self.host);
        let headers = [("Host", self.host.as_str()), ("Cookie", &self.cookie()), ("Origin", &origin)];
        self.send("POST", path, &headers, form).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if method == "POST" {
            request.push_str(&format!(
                "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
                body.len()
            ));
        }
        request.push_str(&format!("\r\n{body}"));
        let exchange = async {
            let mut stream = TcpStream::connect(&self.host).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            answer
        };
        let answer = tokio::time::timeout(PATIENCE, exchange).await.unwrap();
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: answer[end + 4..].to_vec() }
    }

    pub(crate) async fn threads(&self) -> Vec<StoredThread> {
        let all = ThreadQuery { archived: ArchivedFilter::All, limit: 1_000, ..ThreadQuery::default() };
        self.store.list_threads(&all).await.unwrap().items
    }
}

/// Returns the elements that a selector of CSS finds.
pub(crate) fn all<'a>(page: &'a Html, selector: &str) -> Vec<scraper::ElementRef<'a>> {
    page.select(&Selector::parse(selector).unwrap()).collect()
}

/// Returns the target of the only link that a selector finds. `None` if it finds none.
pub(crate) fn link(page: &Html, selector: &str) -> Option<String> {
    let found = all(page, selector);
    assert!(found.len() <= 1, "{selector} finds {}", found.len());
    found.first().map(|link| link.value().attr("href").unwrap().to_owned())
}

pub(crate) fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples")
}

/// Returns the names of the recordings that have a home.
pub(crate) fn sample_names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(samples())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("home").is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(names.len() > 30, "{names:?}");
    names
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
