//! The token budget: the context fragment with the ids of a thread's context windows.

use proptest::prelude::*;
use selvedge_history::context_fragments::{is_context_fragment, is_developer_fragment};
use selvedge_history::{TokenBudget, TokenBudgetForm, replay};
use selvedge_protocol::{ContextWindow, ResponseItem, RolloutItem, RolloutLine, ThreadId, Timestamp, WindowId};

use crate::recordings;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_795_252_000_000 + millis)
}

fn thread() -> ThreadId {
    ThreadId::new(at(0))
}

fn lines(budget: &TokenBudget) -> Vec<String> {
    budget.to_string().lines().map(str::to_owned).collect()
}

#[test]
fn each_line_has_one_label_and_id() {
    let first = ContextWindow::first(Some(WindowId::new(at(1))));
    let second = first.next(at(2));
    let (one, two) = (first.window_id.unwrap(), second.window_id.unwrap());
    let thread = thread();
    let head = format!("Thread id: {thread}");
    let first_line = format!("First context window id: {one}");
    assert_eq!(
        lines(&TokenBudget::new(thread, &first, None)),
        ["<token_budget>", &head, &first_line, &format!("Current context window id: {one}"), "</token_budget>"]
    );
    assert_eq!(
        lines(&TokenBudget::new(thread, &second, Some(0))),
        [
            "<token_budget>",
            &head,
            &first_line,
            &format!("Current context window id: {two}"),
            &format!("Previous context window id: {one}"),
            "You have 0 tokens left in this context window.",
            "</token_budget>"
        ]
    );
    // Windows without ids have no lines.
    let unknown = ContextWindow { number: 3, ..ContextWindow::default() };
    assert_eq!(lines(&TokenBudget::new(thread, &unknown, None)), ["<token_budget>", &head, "</token_budget>"]);
}

#[test]
fn a_token_budget_is_a_developer_fragment_and_no_message_of_the_user() {
    let budget = TokenBudget::new(thread(), &ContextWindow::first(Some(WindowId::new(at(1)))), Some(9));
    let item = budget.to_item();
    assert_eq!(item.role().as_deref(), Some("developer"));
    assert!(is_developer_fragment(&budget.to_string()) && is_context_fragment(&item));
    let items: Vec<RolloutItem> = vec![ResponseItem::user_text("hello").into(), item.clone().into()];
    assert_eq!(replay(&items).history.last(), Some(&item));
    for other in [ResponseItem::user_text(&budget.to_string()), ResponseItem::assistant_text(&budget.to_string())] {
        assert_eq!(TokenBudget::from_item(&other), None);
    }
}

#[test]
fn unknown_lines_are_skipped() {
    let thread = thread();
    let window = WindowId::new(at(1));
    let text = format!(
        "\n <TOKEN_BUDGET> \r\nhello\nMood: fine\nThread id: nobody\n  Thread id :{thread} \r\n\
         Current context window id: 6c1959de-8bdf-489c-a664-66b58be0c216\nFirst context window id: {window}\n\
         You have unknown tokens left in this context window.\nYou have 12 tokens left.\nPrevious context window id\n"
    );
    let budget = TokenBudget::parse(&text).unwrap();
    assert_eq!((budget.thread_id, budget.first_window_id, budget.tokens_left), (Some(thread), Some(window), Some(12)));
    // A version 4 UUID is no window id.
    assert_eq!((budget.window_id, budget.previous_window_id), (None, None));
    let closed = format!("<token_budget>Thread id: {thread}</token_budget>\nFirst context window id: {window}");
    assert_eq!(TokenBudget::parse(&closed).unwrap().first_window_id, None, "text after the end tag is ignored");
    for other in ["", "<token_budget>", "<token_budget>\nThread id: x\n</token_budget>", "Thread id", "é<token_budget>"]
    {
        assert_eq!(TokenBudget::parse(other), None, "{other:?}");
    }
}

const FORMS: [TokenBudgetForm; 5] = [
    TokenBudgetForm::Labels,
    TokenBudgetForm::Sentences,
    TokenBudgetForm::ContextWindow,
    TokenBudgetForm::Agent,
    TokenBudgetForm::AgentInParts,
];

/// The fragment with what a form can say.
fn in_form(budget: &TokenBudget, form: TokenBudgetForm) -> TokenBudget {
    let mut budget = budget.clone();
    if form == TokenBudgetForm::Sentences {
        let TokenBudget { thread_id, window_number, tokens_left, .. } = budget;
        return TokenBudget { thread_id, window_number, tokens_left, ..TokenBudget::default() };
    }
    budget.window_number = None;
    match form {
        TokenBudgetForm::Agent | TokenBudgetForm::AgentInParts => budget.thread_id = None,
        _ => budget.agent_name = None,
    }
    budget
}

/// The items that a line gives to the model. Newer releases repeat the fragment in the replacement history of a compaction.
fn items_of(line: &RolloutLine) -> Vec<ResponseItem> {
    match line.item() {
        RolloutItem::ResponseItem(item) => vec![item],
        RolloutItem::Compacted(compacted) => compacted.replacement_history.unwrap_or_default(),
        _ => Vec::new(),
    }
}

#[test]
fn recorded_fragments_of_every_release_are_read_and_written_alike() {
    let forms = [
        ("0.141.0", TokenBudgetForm::Sentences),
        ("0.142.2", TokenBudgetForm::ContextWindow),
        ("0.155.1", TokenBudgetForm::Agent),
        ("0.169.0", TokenBudgetForm::AgentInParts),
        ("0.171.0", TokenBudgetForm::AgentInParts),
    ];
    for (version, form) in forms {
        let thread = recordings::story(&format!("story-{version}-budget"), "T");
        let mut windows = Vec::new();
        let budgets =
            thread.lines.iter().flat_map(items_of).filter_map(|item| Some((TokenBudget::from_item(&item)?, item)));
        for (budget, item) in budgets {
            // The fragment is a part of a longer message, or several parts of it.
            let written = budget.to_item_as(form).texts();
            let texts = item.texts();
            assert!(texts.windows(written.len()).any(|texts| texts == written), "{version}: {texts:?}");
            assert!(is_context_fragment(&item), "{version}");
            assert_eq!(budget.agent_name.is_none(), budget.thread_id.is_some());
            assert!(budget.thread_id.is_none_or(|id| id == thread.id));
            let window = (budget.window_number, budget.window_id, budget.first_window_id, budget.previous_window_id);
            if !windows.contains(&window) {
                windows.push(window);
            }
        }
        // Two windows: the thread was compacted once.
        assert_eq!(windows.len(), 2, "{version}: {windows:?}");
        let (first, second) = (windows[0], windows[1]);
        if form == TokenBudgetForm::Sentences {
            assert_eq!((first.0, second.0), (Some(0), Some(1)));
        } else {
            assert_eq!((first.2, second.2, second.3), (first.1, first.1, first.1), "{version}");
            assert_ne!(first.1, second.1);
        }
    }
}

#[test]
fn a_tag_alone_is_followed_by_its_lines_in_further_parts() {
    let part = |text: &str| serde_json::json!({"type": "input_text", "text": text});
    let message = |parts: &[&str]| {
        let parts: Vec<_> = parts.iter().map(|text| part(text)).collect();
        let message = serde_json::json!({"type": "message", "role": "developer", "content": parts});
        TokenBudget::from_item(&ResponseItem::from_value(&message).unwrap())
    };
    let named =
        message(&["words", "<context_window>", "\nAgent name: /root/a\n", "</context_window>", "Agent name: b"]);
    assert_eq!(named.unwrap().agent_name.as_deref(), Some("/root/a"));
    assert_eq!(message(&["<context_window>\n", "</context_window>", "Agent name: b"]), None);
    assert_eq!(message(&["<context_window>x", "Agent name: b"]), None);
    assert_eq!(message(&["<context_window>\nAgent name: \n</context_window>"]), None);
    assert_eq!(message(&["<token_budget>\nThread id 1.\nCurrent context window 2.\n</token_budget>"]), None);
}

fn window_id() -> impl Strategy<Value = Option<WindowId>> {
    prop::option::of((0..1_000_000i64).prop_map(|millis| WindowId::new(at(millis))))
}

prop_compose! {
    fn budget()(
        millis in 0..1_000_000i64,
        first_window_id in window_id(),
        window_id in window_id(),
        previous_window_id in window_id(),
        window_number in any::<Option<u64>>(),
        agent in "/root(/[a-z_]{1,8}){0,3}",
        tokens_left in any::<Option<u64>>(),
    ) -> TokenBudget {
        let window = ContextWindow { number: 1, first_window_id, previous_window_id, window_id };
        let budget = TokenBudget::new(ThreadId::new(at(millis)), &window, tokens_left);
        TokenBudget { window_number, agent_name: Some(agent), ..budget }
    }
}

proptest! {
    #[test]
    fn a_parsed_budget_equals_the_written_one(budget in budget()) {
        for form in FORMS {
            let said = Some(in_form(&budget, form));
            prop_assert_eq!(TokenBudget::parse(&budget.text(form)), said.clone(), "{:?}", form);
            prop_assert_eq!(TokenBudget::from_item(&budget.to_item_as(form)), said, "{:?}", form);
        }
    }

    #[test]
    fn other_lines_in_between_change_nothing(budget in budget(), noise in "[a-z:<é ]{0,20}", index in 1usize..4) {
        let mut lines = lines(&budget);
        let index = index.min(lines.len() - 1);
        lines.insert(index, noise);
        prop_assert_eq!(TokenBudget::parse(&lines.join("\n")), Some(in_form(&budget, TokenBudgetForm::Labels)));
    }

    #[test]
    fn any_text_can_be_parsed(text in any::<String>()) {
        let _ = TokenBudget::parse(&text);
        let _ = TokenBudget::parse(&format!("<token_budget>{text}"));
        let _ = TokenBudget::parse(&format!("<context_window>{text}"));
    }
}
