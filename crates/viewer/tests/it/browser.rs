//! A real headless Chromium, driven over a pipe by its DevTools protocol: https://chromedevtools.github.io/devtools-protocol/
//!
//! Chromium reads commands from its file descriptor 3 and writes answers and events to 4, each a JSON text that ends with a zero byte.
//! A shell puts the two pipes there.
//!
//! # Where Chromium comes from
//!
//! 1. `SELVEDGE_TEST_CHROMIUM` names the program.
//! 2. Else `chromium`, `chromium-browser`, `google-chrome` or `google-chrome-stable` is searched for on the `PATH`.
//! 3. Else root installs the package `chromium` of Debian.
//!
//! Without any of them [`Browser::start`] returns `None`, and one line says that the tests were skipped and why.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::Engine;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long the browser may take for anything before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// A browser with one page.
pub(crate) struct Browser {
    child: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    next_id: u64,
    session: Option<String>,
    /// The URLs that the page has asked for.
    pub(crate) requests: Vec<String>,
    /// What the page has shown in dialogs of the browser.
    pub(crate) dialogs: Vec<String>,
    /// What scripts have failed with, and what the content security policy has refused.
    pub(crate) errors: Vec<String>,
    _profile: TempDir,
}

impl Browser {
    /// Starts the browser, with nothing but the loopback interface as its network. `None` if there is no browser: then the test is
    /// skipped.
    pub(crate) fn start() -> Option<Self> {
        static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        let program = match FOUND.get_or_init(find) {
            Ok(program) => program,
            Err(reason) => {
                announce(reason);
                return None;
            }
        };
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new("/bin/sh");
        // The standard output of the browser goes where its errors go, because 1 is the pipe of the protocol.
        command.args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null"]).arg(program).args([
            "--headless",
            "--remote-debugging-pipe",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            "--no-default-browser-check",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--lang=en-US",
        ]);
        if is_root() {
            // Chromium refuses to use its sandbox as root.
            command.arg("--no-sandbox");
        }
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (commands, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(answers).split(0).map_while(Result::ok) {
                if sender.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            child,
            commands,
            messages,
            next_id: 0,
            session: None,
            requests: Vec::new(),
            dialogs: Vec::new(),
            errors: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}))["targetId"].clone();
        let session = browser.call("Target.attachToTarget", json!({"targetId": target, "flatten": true}));
        browser.session = Some(session["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page", "Runtime", "Network", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.size(1100, 800);
        Some(browser)
    }

    /// Sends a command, and returns its result.
    #[track_caller]
    pub(crate) fn call(&mut self, method: &str, params: Value) -> Value {
        self.next_id += 1;
        let mut command = json!({"id": self.next_id, "method": method, "params": params});
        if let Some(session) = &self.session {
            command["sessionId"] = session.clone().into();
        }
        let mut message = command.to_string().into_bytes();
        message.push(0);
        self.commands.write_all(&message).unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let message = self
                .messages
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
                .unwrap_or_else(|error| panic!("{method}: {error}"));
            if message["id"] == self.next_id {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.see(&message);
        }
    }

    fn see(&mut self, event: &Value) {
        let params = &event["params"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match event["method"].as_str().unwrap_or_default() {
            "Network.requestWillBeSent" => self.requests.push(text(&params["request"]["url"])),
            "Page.javascriptDialogOpening" => self.dialogs.push(text(&params["message"])),
            "Runtime.exceptionThrown" => self.errors.push(params["exceptionDetails"].to_string()),
            "Log.entryAdded" if params["entry"]["level"] == "error" => self.errors.push(text(&params["entry"]["text"])),
            _ => {}
        }
    }

    /// Opens a page, and waits until its script has run and the page is drawn: a key that comes earlier is lost.
    #[track_caller]
    pub(crate) fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url}));
        self.wait("location.href !== 'about:blank'");
        self.value("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(() => drawn(true))))");
    }

    /// Evaluates an expression in the page. A promise is awaited.
    #[track_caller]
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let params =
            json!({"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true});
        let result = self.call("Runtime.evaluate", params);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {}", result["exceptionDetails"]);
        result["result"]["value"].clone()
    }

    #[track_caller]
    pub(crate) fn text(&mut self, expression: &str) -> String {
        self.value(expression).as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an expression is true in the page, and its script has run: what comes next may need that.
    #[track_caller]
    pub(crate) fn wait(&mut self, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        let is_true = format!(
            "(() => {{ try {{ return document.readyState === 'complete' && Boolean({expression}) }} \
             catch {{ return false }} }})()"
        );
        // While a page is replaced, there is nothing to evaluate in.
        while self.value(&is_true) != true {
            assert!(Instant::now() < deadline, "never: {expression}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until an expression has a value in the page. What follows an action may come later than the answer to the action.
    #[track_caller]
    pub(crate) fn shows(&mut self, expression: &str, expected: impl Into<Value>) {
        let (deadline, expected) = (Instant::now() + PATIENCE, expected.into());
        let or_null = format!("(() => {{ try {{ return {expression} }} catch {{ return null }} }})()");
        loop {
            let seen = self.value(&or_null);
            if seen == expected {
                return;
            }
            assert!(Instant::now() < deadline, "{expression}: {seen} instead of {expected}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Presses a key: a letter, or a name such as `Enter`.
    #[track_caller]
    pub(crate) fn press(&mut self, key: &str) {
        let text = match key {
            "Enter" => "\r",
            "Escape" | "Tab" => "",
            letter => letter,
        };
        let code = match key {
            "Enter" => 13,
            "Escape" => 27,
            "Tab" => 9,
            _ => 0,
        };
        let kind = if text.is_empty() { "rawKeyDown" } else { "keyDown" };
        let down = json!({"type": kind, "key": key, "text": text, "windowsVirtualKeyCode": code});
        self.call("Input.dispatchKeyEvent", down);
        self.call("Input.dispatchKeyEvent", json!({"type": "keyUp", "key": key, "windowsVirtualKeyCode": code}));
    }

    /// Types a text where the focus is.
    #[track_caller]
    pub(crate) fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
    }

    /// Clicks in the middle of the element that a selector finds, as a mouse does.
    #[track_caller]
    pub(crate) fn click(&mut self, selector: &str) {
        let place = format!(
            "(() => {{ const element = document.querySelector({selector:?}); element.scrollIntoView({{ block: 'center', \
             behavior: 'instant' }}); const box = element.getBoundingClientRect(); \
             return [box.x + box.width / 2, box.y + box.height / 2] }})()"
        );
        let place = self.value(&place);
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            let event = json!({"type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// Sets the size of the page in pixels.
    pub(crate) fn size(&mut self, width: u32, height: u32) {
        let params = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", params);
    }

    /// Sets what the reader prefers: `light` or `dark`.
    pub(crate) fn theme(&mut self, theme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": theme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    pub(crate) fn screenshot(&mut self, path: &Path) {
        let image = self.call("Page.captureScreenshot", json!({"format": "png"}));
        let image = base64::engine::general_purpose::STANDARD.decode(image["data"].as_str().unwrap()).unwrap();
        std::fs::write(path, image).unwrap();
    }

    /// Fails if the page has asked another host for something, has shown a dialog, or if a script has failed.
    #[track_caller]
    pub(crate) fn check(&self, host: &str) {
        let own = [format!("http://{host}/"), "data:".to_owned(), "about:".to_owned()];
        let foreign: VecDeque<&String> =
            self.requests.iter().filter(|url| !own.iter().any(|own| url.starts_with(own))).collect();
        assert!(foreign.is_empty(), "{foreign:?}");
        assert!(self.dialogs.is_empty(), "{:?}", self.dialogs);
        assert!(self.errors.is_empty(), "{:?}", self.errors);
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::print_stderr, reason = "a test that is skipped silently would count as passed")]
fn announce(reason: &str) {
    static ANNOUNCED: OnceLock<()> = OnceLock::new();
    ANNOUNCED.get_or_init(|| eprintln!("SKIPPED: tests in a browser did not run: {reason}"));
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn find() -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os("SELVEDGE_TEST_CHROMIUM").filter(|named| !named.is_empty()) {
        return Ok(named.into());
    }
    on_path().map_or_else(install, Ok)
}

fn on_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    NAMES.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|path| path.is_file())
}

/// Installs the package of Debian. Processes that come here at the same time wait for the first one.
fn install() -> Result<PathBuf, String> {
    let missing = format!("none of {} is on the PATH", NAMES.join(", "));
    if !is_root() || !Path::new("/usr/bin/apt-get").exists() {
        return Err(format!("{missing}, and only root on Debian can install Chromium here"));
    }
    let folder = std::env::temp_dir();
    let lock = std::fs::File::create(folder.join("selvedge-chromium.lock")).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    // A failure is remembered, as otherwise each test would wait for the network.
    let failed = folder.join("selvedge-chromium.failed");
    let is_recent = std::fs::metadata(&failed)
        .and_then(|metadata| metadata.modified())
        .is_ok_and(|at| at.elapsed().is_ok_and(|age| age.as_secs() < 600));
    if on_path().is_none() && !is_recent {
        let apt = "apt-get -q -o Acquire::http::Timeout=20 -o Acquire::Retries=1 -o DPkg::Lock::Timeout=60";
        let install = format!("{apt} install -y --no-install-recommends chromium");
        let script = format!("{install} || {{ {apt} update && {install}; }}");
        let output = Command::new("/bin/sh")
            .args(["-c", &script])
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        let errors = String::from_utf8_lossy(&output.stderr);
        let reason = errors.lines().find(|line| line.starts_with("E:")).unwrap_or("no reason given");
        if on_path().is_none() {
            std::fs::write(&failed, reason).map_err(|error| error.to_string())?;
        }
    }
    on_path().ok_or_else(|| {
        let reason = std::fs::read_to_string(&failed).unwrap_or_default();
        format!("{missing}, and `apt-get install chromium` failed: {reason}")
    })
}
