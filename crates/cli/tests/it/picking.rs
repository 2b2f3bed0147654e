//! `selvedge pick` on a real terminal, under tmux.
//!
//! Without tmux these tests check nothing, and print that.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{ARCHIVED169, Home, PLAIN169, T169, line, run, small_log};

/// How long something may take to appear on a busy machine.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// A terminal with a tmux server of its own.
struct Tmux {
    socket: PathBuf,
}

impl Tmux {
    /// Starts a terminal of this size that runs `script`, in which `selvedge` is the program on this home. `None`
    /// without tmux.
    fn start(home: &Home, (columns, lines): (u16, u16), script: &str) -> Option<Self> {
        if Command::new("tmux").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            let _ = writeln!(
                std::io::stderr(),
                "\n*** SKIPPED: tmux is not installed, so `selvedge pick` was not tested on a terminal. Install it: \
                 apt-get install tmux, brew install tmux\n"
            );
            return None;
        }
        // A server removes its socket when it ends, so the next one needs another socket.
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let terminal = Self { socket: home.folder().join(format!("tmux-{number}")) };
        let selvedge = env!("CARGO_BIN_EXE_selvedge");
        let script = format!(
            "export program='{selvedge}' home='{}'\nselvedge() {{ \"$program\" --home \"$home\" \"$@\"; }}\n{script}\nprintf '\\nthe end\\n'\nexec cat\n",
            home.path().display()
        );
        let path = home.folder().join("script");
        std::fs::write(&path, script).unwrap();
        let (columns, lines) = (columns.to_string(), lines.to_string());
        let path = path.to_str().unwrap();
        let made = terminal.tmux(&["new-session", "-d", "-x", &columns, "-y", &lines, "sh", path]);
        assert_eq!(made, "", "tmux did not start");
        Some(terminal)
    }

    fn tmux(&self, args: &[&str]) -> String {
        let mut command = Command::new("tmux");
        // Without the settings of the user, and with UTF-8 in any locale.
        command.args(["-u", "-f", "/dev/null", "-S"]).arg(&self.socket).args(args);
        command
            .env_clear()
            .env("TERM", "screen-256color")
            .env("TZ", "UTC")
            .env("PATH", std::env::var_os("PATH").unwrap());
        command.env("HOME", self.socket.parent().unwrap_or(Path::new("/")).join("user")).env("NO_COLOR", "1");
        let output = command.stdin(Stdio::null()).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    fn type_text(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until the screen is as wanted, and returns it.
    #[track_caller]
    fn wait(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let screen = self.screen();
            if wanted(&screen) {
                return screen;
            }
            assert!(start.elapsed() < TIME_LIMIT, "{what} did not show:\n{screen}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the row with this text is selected.
    #[track_caller]
    fn wait_selected(&self, text: &str) -> String {
        self.wait(text, |screen| screen.lines().skip(1).any(|line| line.starts_with("> ") && line.contains(text)))
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

/// Prints the answer and the exit code.
const ANSWER: &str = "printf 'code %s answer [%s]\\n' \"$?\" \"$answer\"";

fn pick_script(args: &str) -> String {
    format!("echo before\nanswer=$(selvedge pick {args})\n{ANSWER}")
}

fn log_with(id: &str, text: &str, answer: &str) -> String {
    small_log(id).replace("how are the yaks", text).replace("woolly", answer)
}

/// Returns three threads. The one about gnus comes first in a list.
fn home_with_three_threads() -> (Home, [String; 3]) {
    let home = Home::empty();
    let ids = [1, 2, 3].map(|n| format!("01a1fd5d-{n}{n}{n}{n}-7000-8000-000000000000"));
    let messages = [("zebras in stripes", "black"), ("yaks in wool", "brown"), ("gnus in herds", "grey")];
    for (id, (question, answer)) in ids.iter().zip(messages) {
        home.write(id, log_with(id, question, answer).as_bytes());
        let renamed = home.run(&["rename", id, &format!("On {}", question.split(' ').next().unwrap())]);
        assert_eq!(renamed.code, 0, "{}", renamed.err);
    }
    (home, ids)
}

#[test]
fn the_user_filters_moves_and_chooses() {
    let (home, [zebras, ..]) = home_with_three_threads();
    let Some(terminal) = Tmux::start(&home, (120, 20), &pick_script("--sort created --ascending")) else { return };
    let screen = terminal.wait("the preview", |screen| screen.contains("black"));
    assert!(screen.lines().next().unwrap().ends_with("3/3"), "{screen}");
    assert!(screen.contains("│ ── turn · completed") && screen.contains("enter choose"), "{screen}");
    assert!(!screen.contains("before"), "the terminal does not show the alternate screen: {screen}");

    terminal.type_text("on");
    terminal.wait("what was typed", |screen| screen.starts_with("> on "));
    terminal.press(&["C-u"]);
    terminal.type_text("yks");
    let screen = terminal.wait_selected("yaks");
    assert!(screen.lines().next().unwrap().ends_with("1/3"), "{screen}");
    terminal.wait("another preview", |screen| screen.contains("brown") && !screen.contains("black"));

    terminal.press(&["BSpace", "BSpace", "BSpace"]);
    let order = terminal.wait("all of them", |screen| screen.contains("3/3"));
    let rows: Vec<&str> = order.lines().skip(1).take(3).map(|row| row.split('│').next().unwrap().trim()).collect();
    terminal.press(&["Down", "C-n", "Down"]);
    terminal.wait_selected(&rows[2][rows[2].len() - 30..]);
    terminal.press(&["Up", "C-p", "End", "Home"]);
    terminal.wait_selected("zebras");
    terminal.press(&["Enter"]);
    let screen = terminal.wait("the end", |screen| screen.contains("the end"));
    assert_eq!(screen.trim(), format!("before\ncode 0 answer [{zebras}]\n\nthe end"), "the terminal is as it was");
}

#[test]
fn cancelling_prints_nothing() {
    let (home, _) = home_with_three_threads();
    for key in ["Escape", "C-c"] {
        let Some(terminal) = Tmux::start(&home, (80, 10), &pick_script("")) else { return };
        terminal.wait("the list", |screen| screen.contains("3/3"));
        terminal.press(&[key]);
        let screen = terminal.wait("the end", |screen| screen.contains("the end"));
        assert_eq!(screen.trim(), "before\ncode 130 answer []\n\nthe end");
        // The terminal echoes what is typed, and is in line mode again.
        terminal.type_text("typed\n");
        terminal.wait("an echo", |screen| screen.contains("\ntyped\ntyped\n"));
    }
}

#[test]
fn a_resized_screen_is_drawn_again() {
    let (home, [.., gnus]) = home_with_three_threads();
    let Some(terminal) = Tmux::start(&home, (120, 12), &pick_script("--query gnus --print path")) else { return };
    terminal.wait("the preview", |screen| screen.contains("│") && screen.contains("grey"));
    let resize = |columns: &str, lines: &str| {
        terminal.tmux(&["set-option", "-g", "window-size", "manual"]);
        terminal.tmux(&["resize-window", "-x", columns, "-y", lines]);
    };
    resize("60", "24");
    let screen = terminal.wait("the preview below", |screen| screen.contains("────") && screen.contains("grey"));
    assert!(!screen.contains('│') && screen.starts_with("> gnus ") && screen.contains("\n> 01a1fd5d-3333"), "{screen}");
    resize("30", "5");
    let screen = terminal.wait("the list alone", |screen| screen.starts_with("> gnus") && !screen.contains("grey"));
    assert!(screen.contains("\n> 01a1fd5d-3333") && screen.lines().count() <= 5, "{screen}");
    resize("120", "30");
    terminal.wait("the preview again", |screen| screen.contains("│") && screen.contains("grey"));
    terminal.press(&["Enter"]);
    let screen = terminal.wait("the end", |screen| screen.contains("the end")).replace('\n', "");
    assert!(screen.contains(&format!("answer [{}]", home.file(&gnus).display())), "{screen}");
}

/// Returns a script that writes the answer to the file `out`, and the id of the picker to the file `pid`.
fn pick_script_with_pid(home: &Home) -> String {
    let folder = home.folder().display();
    let program = format!("echo $$ > {folder}/pid; exec \"$program\" --home \"$home\" pick > {folder}/out");
    format!("echo before\nsh -c '{program}'\nprintf 'code %s\\n' \"$?\"")
}

fn kill(home: &Home, signal: &str) {
    let pid = std::fs::read_to_string(home.folder().join("pid")).unwrap();
    assert!(Command::new("kill").args([signal, pid.trim()]).status().unwrap().success());
}

#[test]
fn a_stopped_picker_restores_the_terminal_and_can_be_continued() {
    let (home, [_, _, gnus]) = home_with_three_threads();
    let Some(terminal) = Tmux::start(&home, (80, 10), &pick_script_with_pid(&home)) else { return };
    terminal.wait_selected("On gnus");
    kill(&home, "-TSTP");
    let screen = terminal.wait("what stood there", |screen| screen.starts_with("before\n"));
    assert!(!screen.contains("3/3") && !screen.contains("code"), "{screen}");
    terminal.type_text("typed");
    terminal.wait("an echo", |screen| screen.contains("typed"));
    terminal.press(&["Enter"]);
    kill(&home, "-CONT");
    terminal.wait("the list", |screen| screen.contains("/3") && !screen.contains("before"));
    terminal.press(&["C-u"]);
    terminal.wait_selected("On gnus");
    terminal.press(&["Enter"]);
    terminal.wait("the end", |screen| screen.contains("code 0") && screen.contains("the end"));
    assert_eq!(std::fs::read_to_string(home.folder().join("out")).unwrap(), format!("{gnus}\n"));
}

#[test]
fn a_signal_restores_the_terminal() {
    let (home, _) = home_with_three_threads();
    let Some(terminal) = Tmux::start(&home, (80, 10), &pick_script_with_pid(&home)) else { return };
    terminal.wait("the list", |screen| screen.contains("3/3"));
    kill(&home, "-TERM");
    let screen = terminal.wait("the end", |screen| screen.contains("the end"));
    assert!(screen.starts_with("before\n") && screen.contains("code 143") && !screen.contains("3/3"), "{screen}");
    terminal.type_text("typed\n");
    terminal.wait("an echo", |screen| screen.contains("\ntyped\ntyped\n"));
    assert_eq!(std::fs::read_to_string(home.folder().join("out")).unwrap(), "");
}

#[test]
fn escape_sequences_of_threads_do_not_reach_the_terminal() {
    let hostile_text = "before\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}\u{8}\r\u{0}after";
    let id = "01a1fd5d-eeee-7000-8000-000000000000";
    let log = [
        line("session_meta", &json!({"id": id, "timestamp": "2026-11-21T09:00:00.000Z", "cwd": hostile_text, "originator": "test", "cli_version": "0", "source": "cli", "git": {"branch": hostile_text}})),
        line("event_msg", &json!({"type": "user_message", "message": hostile_text})),
        line("event_msg", &json!({"type": "agent_message", "message": hostile_text})),
    ]
    .concat();
    let home = Home::with_file(id, log.as_bytes());
    let Some(terminal) = Tmux::start(&home, (120, 12), &pick_script("--print cwd")) else { return };
    terminal.tmux(&["pipe-pane", "-o", &format!("cat > '{}/bytes'", home.folder().display())]);
    terminal.type_text("aft");
    let screen = terminal.wait("the preview", |screen| screen.starts_with("> aft ") && screen.contains("agent"));
    assert!(screen.contains("after"), "{screen}");
    terminal.press(&["C-u", "Enter"]);
    terminal.wait("the end", |screen| screen.contains("the end"));
    // The shell prints the answer as the log has it. What the terminal got before that is from the picker.
    let bytes = std::fs::read(home.folder().join("bytes")).unwrap();
    let ours = String::from_utf8_lossy(&bytes).into_owned();
    let ours = ours.split("code 0").next().unwrap();
    for hostile in ["owned", "[2J\u{1b}]0", "\u{9b}", "\u{202e}"] {
        assert!(!ours.contains(hostile), "{hostile:?} in {ours:?}");
    }
}

#[test]
fn the_picker_takes_filters_and_prints_the_thread_record_as_json() {
    let home = Home::sample("story-0.169.0");
    let json = home.folder().join("json");
    let script = pick_script(&format!("--archived --json > '{}'", json.display()));
    let Some(terminal) = Tmux::start(&home, (80, 10), &script) else { return };
    terminal.wait("the list", |screen| screen.contains("1/1") && screen.contains("[archived]"));
    terminal.press(&["Enter"]);
    terminal.wait("the end", |screen| screen.contains("the end"));
    let row: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!((row["id"].as_str(), row["archived"].as_bool()), (Some(ARCHIVED169), Some(true)));
}

#[test]
fn no_matching_threads_are_reported_without_a_terminal() {
    let home = Home::empty();
    let run = home.run(&["pick"]);
    assert_eq!((run.code, run.out.as_str()), (3, ""));
    assert!(run.err.starts_with("error: no such threads in "), "{}", run.err);
}

#[test]
fn the_picker_fails_without_a_terminal() {
    let home = Home::sample("story-0.169.0");
    if Command::new("setsid").arg("--version").stdout(Stdio::null()).status().is_err() {
        return;
    }
    let mut command = Command::new("setsid");
    command.args(["--wait", env!("CARGO_BIN_EXE_selvedge"), "--home"]).arg(home.path()).args(["pick", "-q", T169]);
    let run = run(command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).stdin(Stdio::null()));
    assert_eq!((run.code, run.out.as_str()), (1, ""), "{}", run.err);
    assert!(run.err.contains("choosing a thread needs a terminal, and there is none"), "{}", run.err);
    assert!(!run.err.contains(PLAIN169));
}
