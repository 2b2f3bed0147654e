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
        ("日本", vec![anywhere("日本")]),
        ("会*", vec![anywhere("会")]),
        ("a会", vec![anywhere("a会")]),
        ("a会*", vec![at_word("a会")]),
        ("색", vec![anywhere("색")]),
        ("색*", vec![at_word("색")]),
        ("\u{1109}\u{1162}\u{11a8}", vec![anywhere("색")]),
        ("ｶﾞ", vec![anywhere("ガ")]),
        ("ー", vec![anywhere("ー")]),
        ("\u{e48}*", vec![anywhere("\u{e48}")]),
        ("２", vec![at_word("2")]),
        ("e\u{301}a", vec![at_word("éa")]),
        ("на", vec![at_word("на")]),
        ("की", vec![at_word("की")]),
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
fn spellings_that_look_alike_are_equal() {
    for (one, other) in [
        ("café", "cafe\u{301}"),
        ("CAFÉ", "cafe\u{301}"),
        ("각", "\u{1100}\u{1161}\u{11a8}"),
        ("ABC123", "ＡＢＣ１２３"),
        ("ガード", "ｶﾞｰﾄﾞ"),
        ("file", "ﬁle"),
        ("istanbul", "İSTANBUL"),
        ("istanbul", "I\u{307}stanbul"),
        ("ilik", "ılık"),
        ("σίσυφος", "ΣΊΣΥΦΟΣ"),
        ("\u{3aa}\u{301}", "\u{390}"),
        ("can't", "can’t"),
        ("豈", "\u{f900}"),
        ("ไม\u{e48}\u{e38}", "ไม\u{e38}\u{e48}"),
    ] {
        assert_eq!(fold_text(one), fold_text(other), "{one} {other}");
        is_marked(&format!("\"{one}\""), &format!("x {other} x"), &[other]);
        is_marked(&format!("\"{other}\""), &format!("x {one} x"), &[one]);
    }
    for (one, other) in [("é", "e"), ("ガ", "カ"), ("다ㅠㅠ", "다"), ("하ㄳ", "핛"), ("ㅎㅏ", "하")] {
        assert_ne!(fold_text(one), fold_text(other));
    }
    is_marked("ㅠㅠ", "합니다ㅠㅠ", &["ㅠㅠ"]);
}

/// What is true of each character of Unicode, alone and decomposed.
#[test]
fn folding_is_the_same_for_all_forms_of_a_character() {
    use unicode_normalization::UnicodeNormalization;
    for character in '\0'..=char::MAX {
        let text = character.to_string();
        let folded = fold_text(&text);
        assert!(!folded.is_empty(), "{character:?}");
        assert_eq!(fold_text(&folded), folded, "{character:?} again");
        for form in [text.nfd().collect::<String>(), text.nfc().collect(), text.to_uppercase(), text.to_lowercase()] {
            assert_eq!(fold_text(&form), folded, "{character:?} as {form:?}");
        }
    }
}

/// Terms of any length in scripts without spaces between words, and short Korean ones.
#[test]
fn words_are_found_anywhere_where_no_space_tells_their_start() {
    let meeting = "明天下午三点开项目评审会议讨论排期";
    for term in ["会议", "会", "议讨", "会议*", "评审会议", "期", "明"] {
        is_marked(term, meeting, &[term.trim_end_matches('*')]);
    }
    let kana = "テスト会話を保存する機能が壊れた";
    for term in ["会話", "を", "保存", "スト", "れた", "機能が"] {
        is_marked(term, kana, &[term]);
    }
    is_marked("ﾃｽ", kana, &["テス"]);
    let korean = "한국어로 작성된 세션의 검색이 안됩니다";
    for term in ["국어", "된", "색", "검색", "니다"] {
        is_marked(term, korean, &[term]);
    }
    is_marked("검색*", korean, &["검색"]);
    assert_eq!(marked("색이*", korean), None, "Korean words begin after spaces");
    let thai = "ไทยไม่มีช่องว่าง";
    for term in ["มี", "ท", "ช่อง", "ว่าง", "มี*"] {
        is_marked(term, thai, &[term.trim_end_matches('*')]);
    }
    // Lao, Khmer, Myanmar, Yi.
    for (term, text) in [("ລາ", "ພາສາລາວງາມ"), ("សា", "ភាសាខ្មែរ"), ("စာ", "မြန်မာစာ"), ("ꉙ", "ꆈꌠꉙ")]
    {
        assert!(marked(term, text).is_some(), "{term} in {text}");
    }
}

#[test]
fn a_word_begins_where_the_script_changes() {
    let mixed = "步2 重跑gen-itgc后50条v2会议";
    for term in ["2", "50", "v2", "ge", "gen*", "itgc*", "v2会", "v2会议*"] {
        assert!(marked(term, mixed).is_some(), "{term}");
    }
    assert_eq!(marked("en", mixed), None);
    assert_eq!(marked("0", mixed), None);
    is_marked("50", "총50개", &["50"]);
    is_marked("서버*", "API서버의", &["서버"]);
    is_marked("日本語abc", "今日は日本語ABCです", &["日本語ABC"]);
    // Marks belong to the letter before them.
    assert_eq!(marked("ab", "x\u{303}ab"), None);
    assert_eq!(marked("ab", "क्ab"), None);
    is_marked("ab", "*\u{303}ab", &["ab"]);
    assert_eq!(marked("दी", "हिन्दी"), None, "Hindi words begin after spaces");
}

#[test]
fn highlights_are_whole_characters_of_the_original_text() {
    // `ﬃ` folds to three characters, the Kelvin sign to a shorter one.
    is_marked("stanbul", "ﬃ İstanbul", &["stanbul"]);
    is_marked("istanbul", "\u{212a}\u{212a} istanbul", &["istanbul"]);
    is_marked("\"k x\"", "\u{212a}\u{3000} \u{2003}x", &["\u{212a}\u{3000} \u{2003}x"]);
    is_marked("\"s\"", "ßs", &["ßs"]);
    is_marked("ffi", "aﬃb", &["ﬃ"]);
    is_marked("\"f\"", "aﬃb", &["ﬃ"]);
    is_marked("\"é\"", "ae\u{301}b", &["e\u{301}"]);
    is_marked("본어", "일\u{1107}\u{1169}\u{11ab}어", &["\u{1107}\u{1169}\u{11ab}어"]);
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
        // A phrase that cuts a letter from its accent is another text.
        prop_assume!(fold_text(&text).contains(fold_text(&phrase).trim()));
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
