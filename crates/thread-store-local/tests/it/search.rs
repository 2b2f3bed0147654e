//! A search with the index finds what a search without it finds, in every script and for any query.

use std::collections::BTreeSet;

use selvedge_history::{TextSearch, item_texts};
use selvedge_protocol::{
    ArchivedFilter, ItemsView, SearchHit, SearchOrder, SearchQuery, ThreadId, ThreadQuery, TurnQuery,
};
use selvedge_rollout::RolloutHome;
use selvedge_state::StateIndex;
use selvedge_thread_store::ThreadReader;
use selvedge_thread_store_local::LocalThreadStore;
use serde_json::json;

use crate::home::{TestHome, all_recordings};

/// Messages in several scripts. Each is the prompt of a thread.
const PROMPTS: [&str; 20] = [
    "明天下午三点开项目评审会议讨论排期",
    "步2 重跑gen-itgc后50条悬空引用清零，修复已验证",
    "テスト会話を保存する機能が壊れた",
    "한국어로 작성된 세션의 검색이 안됩니다",
    "Straße in GROẞ und İstanbul ılık",
    "café cafe\u{301} CAFÉ",
    "ไทยไม่มีช่องว่าง",
    "emoji 🦊 fox 🇩🇪 flag",
    "C++ and C# and .NET a->b foo_bar fooBar",
    "１２３ ＡＢＣ full",
    "don't can’t",
    "ﬁle ligature",
    "path C:\\Users\\Kim\\proj",
    "Σίσυφος ΣΊΣΥΦΟΣ",
    "ພາສາລາວງາມ ภาษาไทย ភាសាខ្មែរ မြန်မာစာ",
    "ｶﾞｰﾄﾞを外す ﾃｽﾄ",
    "총50개 API서버의 v2会议 日本語abc",
    "\u{1112}\u{1161}\u{11ab}\u{1100}\u{116e}\u{11a8}\u{110b}\u{1165} ㅋㅋㅋ 네ㅠㅠ",
    "हिन्दी में खोज, поиск по-русски",
    "x\u{303}\u{302}a *\u{302}bc 会\u{302}议",
];

/// Returns a home with a thread for each of these prompts, and the index of it.
async fn prompted(prompts: &[&str]) -> (TestHome, StateIndex) {
    let home = TestHome::empty().without_index();
    for (n, prompt) in (1..).zip(prompts) {
        home.put(thread_id(n), lines(thread_id(n), prompt));
    }
    let index = indexed(&home).await;
    (home, index)
}

fn thread_id(n: u32) -> ThreadId {
    format!("01a1000a-0000-7000-8000-{n:012x}").parse().unwrap()
}

/// Returns the lines of a thread with one prompt.
fn lines(id: ThreadId, prompt: &str) -> String {
    let line = |second: u32, kind: &str, payload: serde_json::Value| {
        format!(
            "{}\n",
            json!({"timestamp": format!("2026-09-10T08:06:0{second}.000Z"), "type": kind, "payload": payload})
        )
    };
    [
        line(
            0,
            "session_meta",
            json!({"id": id, "timestamp": "2026-09-10T08:06:00.000Z", "cwd": "/srv/work/app",
            "originator": "codex_cli_rs", "cli_version": "0.144.6", "source": "cli", "history_mode": "legacy"}),
        ),
        line(1, "event_msg", json!({"type": "task_started", "turn_id": "t"})),
        line(
            2,
            "response_item",
            json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": prompt}]}),
        ),
        line(3, "event_msg", json!({"type": "user_message", "message": prompt})),
        line(4, "event_msg", json!({"type": "agent_message", "message": "ok"})),
        line(5, "event_msg", json!({"type": "task_complete", "turn_id": "t"})),
    ]
    .concat()
}

async fn indexed(home: &TestHome) -> StateIndex {
    let rollouts = RolloutHome::new(home.path());
    let index = StateIndex::open(&rollouts, &StateIndex::path_in(&rollouts)).await.unwrap();
    index.update(|_| {}).await.unwrap();
    index
}

/// Returns a search of all threads for all hits.
fn all_hits(text: &str, order: SearchOrder) -> SearchQuery {
    let threads = ThreadQuery { archived: ArchivedFilter::All, limit: 10_000, ..ThreadQuery::default() };
    SearchQuery { threads, order, hits_per_thread: 10_000, ..SearchQuery::new(text) }
}

fn keys(hits: &[SearchHit]) -> BTreeSet<String> {
    hits.iter().map(|hit| serde_json::to_string(hit).unwrap()).collect()
}

/// Returns what identifies hits, in their order.
fn order_of(hits: &[SearchHit]) -> Vec<String> {
    let names = hits.iter().map(|hit| format!("{} {:?} {} {}", hit.thread.id, hit.position, hit.kind, hit.snippet));
    names.collect()
}

/// Compares a search with the index with one without it. Returns the number of hits, and whether the index answered.
async fn compare(home: &TestHome, index: &StateIndex, text: &str, what: &str) -> (usize, bool) {
    let mut found = (0, false);
    for order in [SearchOrder::Sorted, SearchOrder::Best] {
        let query = all_hits(text, order);
        let from_logs = home.store.search_threads(&query).await.unwrap().items;
        found = (from_logs.len(), false);
        let Some(from_index) = index.search_threads(&query).await.unwrap() else { continue };
        found.1 = true;
        let from_index = from_index.items;
        assert_eq!(from_index.len(), from_logs.len(), "{text:?} in {what}");
        assert_eq!(keys(&from_index), keys(&from_logs), "{text:?} in {what}");
        assert_eq!(order_of(&from_index), order_of(&from_logs), "{text:?} in {what}, {order:?}");
        // Also with few hits of each thread, and page by page.
        let mut pages = [Vec::new(), Vec::new()];
        for (source, hits) in pages.iter_mut().enumerate() {
            let mut query = all_hits(text, order);
            (query.threads.limit, query.hits_per_thread) = (2, 2);
            loop {
                let page = match source {
                    0 => home.store.search_threads(&query).await.unwrap(),
                    _ => index.search_threads(&query).await.unwrap().unwrap(),
                };
                hits.extend(order_of(&page.items));
                query.threads.cursor = page.next_cursor;
                if query.threads.cursor.is_none() {
                    break;
                }
            }
        }
        assert_eq!(pages[0], pages[1], "{text:?} in {what}, {order:?}, page by page");
    }
    found
}

#[tokio::test]
async fn every_script_is_searched_by_the_index() {
    let (home, index) = prompted(&PROMPTS).await;
    for (text, threads) in [
        ("会议", vec![1, 17]),
        ("会", vec![1, 3, 17, 20]),
        ("议讨", vec![1]),
        ("会议*", vec![1, 17]),
        ("\"会議\"", vec![]),
        ("50", vec![2, 17]),
        ("ge", vec![2]),
        ("引用", vec![2]),
        ("会話", vec![3]),
        ("を", vec![3, 16]),
        ("색", vec![4]),
        ("국어", vec![4, 18]),
        ("검색*", vec![4]),
        ("색이*", vec![]),
        ("strasse", vec![5]),
        ("istanbul", vec![5]),
        ("ilık", vec![5]),
        ("café", vec![6]),
        ("cafe\u{301}", vec![6]),
        ("มี", vec![7]),
        ("ไทย", vec![7, 15]),
        ("123 abc", vec![10]),
        ("１２３", vec![10]),
        ("can't", vec![11]),
        ("file", vec![12]),
        ("ลาว", vec![]),
        ("ລາວ", vec![15]),
        ("ខ្មែ", vec![15]),
        ("စာ", vec![15]),
        ("ガード", vec![16]),
        ("ﾄ", vec![3, 16]),
        ("v2会", vec![17]),
        ("日本語abc", vec![17]),
        ("本語a", vec![17]),
        ("서버*", vec![17]),
        ("खोज", vec![19]),
        ("会\u{302}", vec![20]),
    ] {
        assert!(compare(&home, &index, text, "the prompts").await.1, "{text:?} is searched by the index");
        let hits = home.store.search_threads(&all_hits(text, SearchOrder::Sorted)).await.unwrap().items;
        let found: BTreeSet<ThreadId> = hits.iter().map(|hit| hit.thread.id).collect();
        assert_eq!(found, threads.into_iter().map(thread_id).collect(), "{text:?}");
    }
}

/// A generator of queries, the same ones in each run.
struct Queries(u64);

impl Queries {
    /// Returns a pseudo-random number below `end`, or 0.
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % end.max(1)
    }

    /// Returns consecutive characters of a text.
    fn part(&mut self, text: &str, longest: usize) -> String {
        let letters: Vec<char> = text.chars().collect();
        let len = 1 + self.below(longest.min(letters.len()));
        let start = self.below(letters.len() + 1 - len);
        letters.iter().skip(start).take(len).collect()
    }

    /// Returns a term from a text: a word, a part of one, a beginning with a star, or a phrase.
    fn term(&mut self, text: &str) -> String {
        let words: Vec<&str> = text.split_whitespace().collect();
        let Some(word) = words.get(self.below(words.len())).copied() else { return "nothing".to_owned() };
        match self.below(8) {
            0 => word.to_owned(),
            1 => self.part(word, 8),
            2 | 3 => self.part(word, 2),
            4 => format!("{}*", word.chars().take(1 + self.below(4)).collect::<String>()),
            5 => format!("{}*", self.part(word, 3)),
            // A long text would be folded for each of its characters.
            6 => format!("\"{}\"", self.part(&words[..words.len().min(200)].join(" "), 20).replace('"', "\"\"")),
            _ => format!("\"{}\"", self.part(word, 3).replace('"', "\"\"")),
        }
    }

    /// Returns a query with terms of a text. Some are changed, so that they need not be found.
    fn query(&mut self, text: &str) -> String {
        let mut query = self.term(text);
        if self.below(4) == 0 {
            query = format!("{query} {}", self.term(text));
        }
        let letters: Vec<char> = query.chars().collect();
        let at = self.below(letters.len());
        let without =
            |at: usize| letters.iter().enumerate().filter(move |(other, _)| *other != at).map(|(_, letter)| letter);
        match self.below(10) {
            0 => without(at).collect(),
            1 => query.to_uppercase(),
            2 => letters.iter().rev().collect(),
            // The full-width forms of ASCII.
            3 => letters
                .iter()
                .map(|letter| match letter {
                    '0'..='9' | 'a'..='z' | 'A'..='Z' => char::from_u32(u32::from(*letter) + 0xfee0).unwrap(),
                    _ => *letter,
                })
                .collect(),
            _ => query,
        }
    }
}

/// Returns the texts that are searched in a home: those of the items of its threads, and their names.
async fn texts(store: &LocalThreadStore) -> Vec<String> {
    let query = ThreadQuery { archived: ArchivedFilter::All, limit: 10_000, ..ThreadQuery::default() };
    let mut texts = Vec::new();
    for thread in store.list_threads(&query).await.unwrap().items {
        let query = TurnQuery { items_view: ItemsView::Full, limit: 10_000, ..TurnQuery::all(thread.id) };
        let turns = store.list_turns(&query).await.unwrap().items;
        let items = turns.iter().flat_map(|turn| &turn.items);
        texts.extend(items.flat_map(|item| item_texts(item)).map(str::to_owned));
        texts.extend(thread.name);
    }
    texts
}

/// How many queries are compared, over all homes.
const QUERIES: usize = 200;

#[tokio::test]
async fn random_queries_have_the_same_hits_with_and_without_an_index() {
    let mut homes = Vec::new();
    for folder in all_recordings() {
        let home = TestHome::recorded(&folder).without_index();
        let index = indexed(&home).await;
        homes.push((folder, home, index));
    }
    homes.sort_by(|one, other| one.0.cmp(&other.0));
    let (home, index) = prompted(&PROMPTS).await;
    let recorded = homes.len();
    homes.push(("the prompts".to_owned(), home, index));
    let mut texts_of = Vec::new();
    for (_, home, _) in &homes {
        texts_of.push(texts(&home.store).await);
    }
    let mut queries = Queries(0x5e1_ed6e);
    let (mut found, mut answered) = (0, 0);
    for number in 0..QUERIES {
        // Every third query is about the prompts; the others go through the recordings.
        // Every third query goes to the prompts, and the others to the recordings in turn.
        let at = if number % 3 == 0 { recorded } else { (number - number / 3 - 1) % recorded };
        let (name, home, index) = &homes[at];
        let text = queries.below(texts_of[at].len());
        let query = queries.query(&texts_of[at][text]);
        if TextSearch::new(&query).is_err() {
            continue;
        }
        let (hits, by_index) = compare(home, index, &query, name).await;
        found += usize::from(hits > 0);
        answered += usize::from(by_index);
    }
    // Otherwise the comparison says little.
    assert!(found > QUERIES / 2 && answered > QUERIES / 2, "{found} have hits, {answered} were answered by the index");
}
