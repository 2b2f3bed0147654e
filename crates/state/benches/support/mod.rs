//! Homes for benchmarks, with threads like those of a real agent.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use selvedge_protocol::{HistoryMode, SessionMeta, ThreadId, Timestamp};
use selvedge_rollout::{RolloutFileName, RolloutHome, now};
use serde_json::{Value, json};

use self::probe::Probe;

pub(crate) mod probe;
pub(crate) mod report;

/// The number of different letters of Chinese text.
const HAN_LETTERS: f64 = 3_500.0;

/// The number of different words.
const VOCABULARY: usize = 60_000;

/// A script in which generated text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextScript {
    /// With spaces between words.
    Latin,
    /// Without spaces, with thousands of letters.
    Chinese,
    /// Without spaces, with few letters, which have marks.
    Thai,
}

/// A generator of text. Words are distributed as in natural language: the n-th most frequent one has a fraction of about 1/n. Paths,
/// hashes and ids are in between.
pub(crate) struct Words {
    state: u64,
    vocabulary: Vec<String>,
    pub(crate) script: TextScript,
    /// How many lines the outputs of tools have at most, if they are long.
    pub(crate) output_lines: Option<usize>,
}

impl Words {
    pub(crate) fn new() -> Self {
        Self::in_script(TextScript::Latin)
    }

    pub(crate) fn in_script(script: TextScript) -> Self {
        let mut words = Self { state: 0x9e37_79b9_7f4a_7c15, vocabulary: Vec::new(), script, output_lines: None };
        let syllables = ["a", "e", "i", "o", "u", "al", "en", "ir", "or", "un"];
        let consonants = ["b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "st", "tr", "ch"];
        let mut vocabulary = std::collections::BTreeSet::new();
        while vocabulary.len() < VOCABULARY {
            let count = 1 + words.below(4);
            let word = (0..count).map(|_| match script {
                TextScript::Latin => {
                    let (consonant, syllable) = (words.below(consonants.len()), words.below(syllables.len()));
                    format!("{}{}", consonants[consonant], syllables[syllable])
                }
                TextScript::Chinese => {
                    // As with words, few of the letters make up most of the text.
                    let rank = HAN_LETTERS.powf(words.below(1 << 20) as f64 / f64::from(1 << 20));
                    char::from_u32(0x4e00 + rank as u32).into_iter().collect()
                }
                TextScript::Thai => {
                    let letters = [
                        "ก", "ข", "ค", "ง", "จ", "ช", "ด", "ต", "ท", "น", "บ", "ป", "พ", "ม", "ย", "ร", "ล", "ว", "ส",
                        "ห",
                    ];
                    let vowels = [
                        "",
                        "า",
                        "\u{e34}",
                        "\u{e35}",
                        "\u{e31}",
                        "\u{e38}",
                        "\u{e48}",
                        "\u{e49}",
                        "ะ",
                        "\u{e35}\u{e48}",
                    ];
                    let (letter, vowel) = (words.below(letters.len()), words.below(vowels.len()));
                    format!("{}{}", letters[letter], vowels[vowel])
                }
            });
            vocabulary.insert(word.collect::<String>());
        }
        let mut vocabulary: Vec<String> = vocabulary.into_iter().collect();
        for at in (1..vocabulary.len()).rev() {
            let other = words.below(at + 1);
            vocabulary.swap(at, other);
        }
        Self { vocabulary, ..words }
    }

    /// Returns a word that is in half of the threads of [`fill`], and one that is in one of them.
    pub(crate) fn searched(&self) -> (&'static str, &'static str) {
        match self.script {
            TextScript::Latin => (COMMON, RARE),
            // Their letters are not among those of the vocabulary.
            TextScript::Chinese => ("织布", "机杼结"),
            TextScript::Thai => ("ฉฎ", "ฌฏฐ"),
        }
    }

    /// Returns what is between two words.
    pub(crate) fn separator(&self) -> &'static str {
        if self.script == TextScript::Latin { " " } else { "" }
    }

    /// Returns the output of a tool.
    fn output(&mut self) -> String {
        let Some(lines) = self.output_lines else {
            let count = 20 + self.below(500);
            return self.text(count);
        };
        let mut text = String::new();
        for line in 0..=self.below(lines) {
            text.push_str(&format!("{}:{}: ", self.path(), line * 7));
            let count = 2 + self.below(10);
            text.push_str(&self.text(count).replace('\n', " "));
            text.push('\n');
        }
        text
    }

    /// Returns a pseudo-random number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state >> 33).unwrap_or_default() % end
    }

    fn hex(&mut self, len: usize) -> String {
        (0..len)
            .map(|_| char::from_digit(u32::try_from(self.below(16)).unwrap_or_default(), 16).unwrap_or('0'))
            .collect()
    }

    fn id(&mut self) -> String {
        format!("{}-{}-{}-{}-{}", self.hex(8), self.hex(4), self.hex(4), self.hex(4), self.hex(12))
    }

    fn word(&mut self) -> String {
        // The rank grows exponentially with a uniform random number, which gives the n-th word the frequency 1/n.
        let share = self.below(1 << 20) as f64 / f64::from(1 << 20);
        let rank = (VOCABULARY as f64).powf(share) - 1.0;
        self.vocabulary[(rank as usize).min(VOCABULARY - 1)].clone()
    }

    fn path(&mut self) -> String {
        format!("crates/{}/src/{}.rs", self.word(), self.word())
    }

    /// Returns a text of `count` words.
    pub(crate) fn text(&mut self, count: usize) -> String {
        let mut text = String::new();
        for _ in 0..count {
            match self.below(100) {
                0 => text.push_str(&self.id()),
                1 => text.push_str(&self.hex(40)),
                2..=4 => text.push_str(&self.path()),
                _ => text.push_str(&self.word()),
            }
            text.push_str(if self.below(12) == 0 { ".\n" } else { self.separator() });
        }
        text
    }
}

/// The minimum size in bytes of a thread of [`fill`]. The last turn is written to its end, so that the average is 30 kB.
pub(crate) const THREAD_BYTES: usize = 20_000;

/// The number of threads of the home of a comparison, and how often one workload repeats its query.
pub(crate) const PROBED_THREADS: usize = 200;
pub(crate) const PROBED_TIMES: usize = 20;

/// A word that is in half of the threads of [`fill`], and one that is in one of them.
pub(crate) const COMMON: &str = "weftwarp";
pub(crate) const RARE: &str = "selvageknot";

/// Measures a query that is repeated [`PROBED_TIMES`] times.
pub(crate) fn ask<T>(probe: &Probe, what: &str, mut query: impl AsyncFnMut() -> Result<T>) -> Result<()> {
    let nothing = async || Ok(());
    probe.measure(&format!("{what}, {PROBED_TIMES} times"), nothing, async |()| {
        for _ in 0..PROBED_TIMES {
            query().await?;
        }
        Ok(())
    })
}

/// Fills a home with threads of about 30 kB, legacy and paginated ones alternately. Returns their files.
pub(crate) fn fill(home: &RolloutHome, words: &mut Words, threads: usize) -> Result<Vec<PathBuf>> {
    let write = |number| {
        let (common, rare) = words.searched();
        let common = if number % 4 < 2 { common } else { "" };
        let rare = if number == threads / 8 * 4 { rare } else { "" };
        let between = words.separator();
        Ok(write_thread(home, words, number, THREAD_BYTES, &format!("{between}{common}{between}{rare}"))?.1)
    };
    (0..threads).map(write).collect()
}

pub(crate) struct TurnWriter<'a> {
    words: &'a mut Words,
    at: Timestamp,
    paginated: bool,
    ordinal: u64,
    text: String,
}

impl TurnWriter<'_> {
    fn push(&mut self, kind: &str, payload: &Value) {
        let ordinal = if self.paginated { format!("\"ordinal\":{},", self.ordinal) } else { String::new() };
        self.ordinal += 1;
        let at = self.at;
        self.text.push_str(&format!("{{\"timestamp\":\"{at}\",{ordinal}\"type\":\"{kind}\",\"payload\":{payload}}}\n"));
    }

    fn event(&mut self, payload: &Value) {
        self.push("event_msg", payload);
    }

    fn item(&mut self, turn: &str, mut item: Value) {
        if item.get("id").is_none() {
            item["id"] = self.words.id().into();
        }
        self.event(&json!({"type": "item_completed", "turn_id": turn, "item": item}));
    }

    fn message(&mut self, role: &str, text: &str) {
        let kind = if role == "user" { "input_text" } else { "output_text" };
        self.push(
            "response_item",
            &json!({"type": "message", "role": role, "content": [{"type": kind, "text": text}]}),
        );
    }

    /// Writes a turn: a question, some steps with their outputs, an answer. About 15 kB, half of which is output of tools.
    fn turn(&mut self, extra: &str) {
        let turn = self.words.id();
        self.event(&json!({"type": "task_started", "turn_id": turn}));
        let context = json!({"turn_id": turn, "cwd": "/home/ada/loom", "model": "a-model", "approval_policy": "never"});
        self.push("turn_context", &context);
        let question = format!("{}{extra}", self.words.text(30));
        self.message("user", &question);
        if self.paginated {
            self.item(&turn, json!({"type": "UserMessage", "content": [{"type": "text", "text": question}]}));
        } else {
            self.event(&json!({"type": "user_message", "message": question}));
        }
        for _ in 0..3 {
            self.step(&turn);
        }
        let answer = self.words.text(150);
        self.message("assistant", &answer);
        if self.paginated {
            self.item(&turn, json!({"type": "AgentMessage", "content": [{"type": "Text", "text": answer}]}));
        } else {
            self.event(&json!({"type": "agent_message", "message": answer}));
        }
        self.event(&json!({"type": "token_count", "info": {"total_token_usage": {"input_tokens": 12_000}}}));
        self.event(&json!({"type": "task_complete", "turn_id": turn}));
    }

    fn step(&mut self, turn: &str) {
        let thought = self.words.text(25);
        let call = format!("call_{}", self.words.hex(24));
        let command = format!("rg -n {} {}", self.words.word(), self.words.path());
        let output = self.words.output();
        let encrypted = self.words.hex(600);
        self.push("response_item", &json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": thought}], "encrypted_content": encrypted}));
        self.push("response_item", &json!({"type": "function_call", "name": "shell", "arguments": json!({"command": command}).to_string(), "call_id": call}));
        self.push("response_item", &json!({"type": "function_call_output", "call_id": call, "output": output}));
        if self.paginated {
            self.item(turn, json!({"type": "Reasoning", "summary_text": [thought], "raw_content": []}));
            self.item(turn, json!({"type": "CommandExecution", "id": call, "command": ["bash", "-lc", command], "cwd": "/home/ada/loom", "aggregated_output": output, "exit_code": 0}));
        } else {
            self.event(&json!({"type": "agent_reasoning", "text": thought}));
        }
    }
}

/// Writes a thread of at least `bytes` bytes, which ends with a whole turn. Even numbers are legacy threads, odd ones paginated
/// ones. Returns the id and the file.
pub(crate) fn write_thread(
    home: &RolloutHome,
    words: &mut Words,
    number: usize,
    bytes: usize,
    extra: &str,
) -> Result<(ThreadId, PathBuf)> {
    let day = i64::try_from(number % 100)?;
    let at = Timestamp::from_millis(now().as_millis() - day * 86_400_000 - i64::try_from(number)?);
    let id = ThreadId::new(at);
    let path = home.active_path(&RolloutFileName::new(at, id, None));
    fs::create_dir_all(path.parent().context("a rollout is in a directory")?)?;
    let mut meta = SessionMeta::new(id, at);
    let paginated = number % 2 == 1;
    meta.history_mode = Some(if paginated { HistoryMode::Paginated } else { HistoryMode::Legacy });
    meta.cwd = Some(format!("/home/ada/loom/project-{}", number % 50));
    meta.source = Some(json!("cli"));
    meta.model_provider = Some("openai".to_owned());
    let mut file = fs::File::create(&path)?;
    let mut writer = TurnWriter { words, at, paginated, ordinal: 0, text: String::new() };
    writer.push("session_meta", &serde_json::to_value(&meta)?);
    writer.turn(extra);
    let mut written = 0;
    loop {
        written += writer.text.len();
        file.write_all(writer.text.as_bytes())?;
        writer.text.clear();
        if written >= bytes {
            // The file gets the time of its lines.
            let at = Duration::from_millis(u64::try_from(at.as_millis())?);
            file.set_modified(SystemTime::UNIX_EPOCH + at)?;
            return Ok((id, path));
        }
        writer.turn("");
    }
}

/// Appends a turn to a thread. Returns the number of bytes.
pub(crate) fn another_turn(path: &Path, words: &mut Words, paginated: bool) -> Result<usize> {
    // Larger than any ordinal in the file, because a line has more than one byte.
    let ordinal = fs::metadata(path)?.len();
    let mut writer = TurnWriter { words, at: now(), paginated, ordinal, text: String::new() };
    writer.turn("");
    fs::File::options().append(true).open(path)?.write_all(writer.text.as_bytes())?;
    Ok(writer.text.len())
}
