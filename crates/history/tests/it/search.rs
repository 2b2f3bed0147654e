//! Text search: what matches, and the snippet that is shown. The conformance suite checks the query language.

use proptest::prelude::*;
use selvedge_history::{EmptySearch, SearchTerm, Snippet, TextSearch, fold_text, item_texts};
use selvedge_protocol::{ItemContent, ItemStatus, TurnItem};
use serde_json::{Value, json};

/// The highlighted parts of `text` in a search for `asked`.
fn marked(asked: &str, text: &str) -> Option<Vec<String>> {
    let Snippet { text, highlights } = TextSearch::new(asked).unwrap().snippet(&[text])?;
    Some(highlights.iter().map(|(start, end)| text[*start..*end].to_owned()).collect())
}

fn is_marked(asked: &str, text: &str, wanted: &[&str]) {
    assert_eq!(marked(asked, text).unwrap(), wanted, "{asked} in {text}");
}

#[test]
fn a_query_is_parsed_into_folded_terms() {
    let anywhere = |text: &str| SearchTerm::Anywhere(text.into());
    let at_word = |text: &str| SearchTerm::WordStart(text.into());
    for (text, terms) in [
        ("Reset", vec![anywhere("reset")]),
        ("ab", vec![at_word("ab")]),
        ("ẞx", vec![anywhere("ssx")]),
        ("日本", vec![at_word("日本")]),
        ("RESET*", vec![at_word("reset")]),
        ("**", vec![anywhere("*")]),
        ("a*b", vec![anywhere("a*b")]),
        ("->", vec![anywhere("->")]),
        ("_x*", vec![anywhere("_x")]),
        ("\"A  b\"c \"\" \"d", vec![anywhere("a b"), at_word("c"), anywhere("d")]),
        ("say\"no\"", vec![anywhere("say\"no\"")]),
        ("\"a\"\"b\"", vec![anywhere("a\"b")]),
    ] {
        assert_eq!(TextSearch::new(text).unwrap().terms(), terms, "{text}");
    }
    for text in ["", " ", "\"", "\"\"", "\" \" \""] {
        assert_eq!(TextSearch::new(text), Err(EmptySearch), "{text:?}");
    }
}

#[test]
fn only_the_beginning_of_tool_outputs_is_searched() {
    let searched = |item: &TurnItem, text: &str| TextSearch::new(text).unwrap().snippet(&item_texts(item)).is_some();
    let long = format!("{}near {}far", "x".repeat(4_000), "ß".repeat(100));
    let item = |content: ItemContent| TurnItem::new("1".into(), content);
    let command = item(ItemContent::CommandExecution {
        command: long.clone(),
        cwd: None,
        command_actions: Vec::new(),
        status: ItemStatus::Completed,
        output: Some(long.clone()),
        exit_code: None,
        duration_ms: None,
    });
    assert_eq!(item_texts(&command).iter().map(|text| text.len()).collect::<Vec<_>>(), [long.len(), 4_095]);
    assert!(searched(&command, "far"), "commands are searched whole");
    let changes: serde_json::Map<String, Value> =
        (0..9).map(|number| (format!("src/file{number}.rs"), json!({"content": long}))).collect();
    let change = item(ItemContent::FileChange { status: ItemStatus::Completed, changes: changes.into() });
    assert!(searched(&change, "file8.rs"), "paths are searched, regardless of the content of the files");
    assert!(searched(&change, "near") && !searched(&change, "far"));
    let texts: usize = item_texts(&change).iter().map(|text| text.len()).sum();
    assert_eq!(texts, (16 << 10) + 9 * "src/file0.rs".len());
}

#[test]
fn case_is_ignored_in_every_script() {
    is_marked("HELLO", "say hello", &["hello"]);
    is_marked("STRASSE", "die straße", &["straße"]);
    is_marked("straẞe", "DIE STRASSE", &["STRASSE"]);
    is_marked("ΟΔΟΣ", "η οδος", &["οδος"]);
    is_marked("привет", "ну ПРИВЕТ!", &["ПРИВЕТ"]);
    assert_eq!(marked("missing", "die straße"), None);
}

#[test]
fn highlights_are_whole_characters_of_the_original_text() {
    // `İ` folds to two characters, the Kelvin sign to a shorter one.
    is_marked("stanbul", "İİ İstanbul", &["stanbul"]);
    is_marked("istanbul", "\u{212a}\u{212a} istanbul", &["istanbul"]);
    is_marked("\"k x\"", "\u{212a}\u{3000} \u{2003}x", &["\u{212a}\u{3000} \u{2003}x"]);
    is_marked("\"s\"", "ßs", &["ßs"]);
    is_marked("\"\u{307}\"", "aİb", &["İ"]);
    is_marked("\"a \"", "xa \n\n", &["a "]);
}

#[test]
fn overlapping_or_touching_matches_are_one_highlight() {
    is_marked("abcd cdef", "xabcdefx", &["abcdef"]);
    is_marked("abc def", "abcdef abc", &["abcdef", "abc"]);
    is_marked("aaa", "aaaaaaaa", &["aaaaaa"]);
    // The first match overlaps the one at the start of a word.
    is_marked("a-a*", "xa-a-a", &["a-a"]);
}

#[test]
fn a_snippet_is_one_line_around_the_hit() {
    let text = format!("{}\n\u{1b}[1mNädel\u{1b}[0m\r\n{}", "é".repeat(100), "日".repeat(100));
    let snippet = TextSearch::new("nÄDEL").unwrap().snippet(&[&text]).unwrap();
    let (start, end) = snippet.highlights[0];
    assert_eq!(&snippet.text[start..end], "Nädel");
    assert!(snippet.text.starts_with('…') && snippet.text.ends_with('…'), "{}", snippet.text);
    assert!(!snippet.text.contains(char::is_control));
    assert_eq!(snippet.text.chars().count(), 1 + 60 + 5 + 60 + 1);
}

#[test]
fn a_short_text_is_its_own_snippet() {
    let snippet = TextSearch::new("b*").unwrap().snippet(&["a b\u{85}c"]).unwrap();
    assert_eq!(snippet, Snippet { text: "a b c".into(), highlights: vec![(2, 3)] });
}

#[test]
fn a_snippet_shows_where_the_terms_are_closest() {
    let far = "x".repeat(1000);
    let text = format!("alpha {far} beta {far} beta then alpha {far} alpha");
    let snippet = TextSearch::new("alpha beta").unwrap().snippet(&["beta", &text]).unwrap();
    let marked: Vec<_> = snippet.highlights.iter().map(|(start, end)| &snippet.text[*start..*end]).collect();
    assert_eq!(marked, ["beta", "alpha"]);
    assert!(snippet.text.contains("beta then alpha"), "{}", snippet.text);
}

#[test]
fn a_text_of_nothing_but_matches_takes_little_time() {
    let text = "ab ".repeat(400_000);
    let search = TextSearch::new("a b ab* \"b a\"").unwrap();
    assert_eq!(search.snippet(&[&text]), None, "no word begins with b");
    let search = TextSearch::new("a ab* \"b a\"").unwrap();
    assert_eq!(search.count(&[&text]), Some(400_000 + 400_000 + 399_999));
    assert!(search.snippet(&[&text]).unwrap().text.len() < 1000);
}

proptest! {
    #[test]
    fn any_phrase_of_a_text_is_found_in_it(text in ".{1,40}", from in 0..40_usize, length in 1..10_usize) {
        let phrase: String = text.chars().skip(from).take(length).collect();
        prop_assume!(!phrase.trim().is_empty());
        let search = TextSearch::new(&format!("\"{}\"", phrase.replace('"', "\"\""))).unwrap();
        let snippet = search.snippet(&[&text]).unwrap();
        let (start, end) = snippet.highlights[0];
        let found = fold_text(&snippet.text[start..end]);
        let wanted: String = phrase.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        prop_assert!(found.contains(fold_text(&wanted).trim()), "{found:?} {wanted:?}");
        prop_assert!(search.count(&[&text]).unwrap() >= 1);
    }

    #[test]
    fn no_text_makes_a_search_panic(asked in ".{0,20}", text in ".{0,60}") {
        if let Ok(search) = TextSearch::new(&asked) {
            let snippet = search.snippet(&[&text, "", &asked]);
            prop_assert_eq!(snippet.is_some(), search.count(&[&text, "", &asked]).is_some());
            for (start, end) in snippet.map(|snippet| snippet.highlights).unwrap_or_default() {
                prop_assert!(start < end);
            }
        }
    }
}
