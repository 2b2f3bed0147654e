//! The token budget: the context fragment with the ids of a thread's context windows.

use proptest::prelude::*;
use selvedge_history::context_fragments::{is_context_fragment, is_developer_fragment};
use selvedge_history::{TokenBudget, replay};
use selvedge_protocol::{ContextWindow, ResponseItem, RolloutItem, ThreadId, Timestamp, WindowId};

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
    assert_eq!((budget.thread_id, budget.first_window_id, budget.tokens_left), (thread, Some(window), Some(12)));
    // A version 4 UUID is no window id.
    assert_eq!((budget.window_id, budget.previous_window_id), (None, None));
    let closed = format!("<token_budget>Thread id: {thread}</token_budget>\nFirst context window id: {window}");
    assert_eq!(TokenBudget::parse(&closed).unwrap().first_window_id, None, "text after the end tag is ignored");
    for other in ["", "<token_budget>", "<token_budget>\nThread id: x\n</token_budget>", "Thread id", "é<token_budget>"]
    {
        assert_eq!(TokenBudget::parse(other), None, "{other:?}");
    }
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
        tokens_left in any::<Option<u64>>(),
    ) -> TokenBudget {
        let window = ContextWindow { number: 1, first_window_id, previous_window_id, window_id };
        TokenBudget::new(ThreadId::new(at(millis)), &window, tokens_left)
    }
}

proptest! {
    #[test]
    fn a_parsed_budget_equals_the_written_one(budget in budget()) {
        prop_assert_eq!(TokenBudget::parse(&budget.to_string()), Some(budget.clone()));
        prop_assert_eq!(TokenBudget::from_item(&budget.to_item()), Some(budget));
    }

    #[test]
    fn other_lines_in_between_change_nothing(budget in budget(), noise in "[a-z:<é ]{0,20}", index in 1usize..4) {
        let mut lines = lines(&budget);
        let index = index.min(lines.len() - 1);
        lines.insert(index, noise);
        prop_assert_eq!(TokenBudget::parse(&lines.join("\n")), Some(budget));
    }

    #[test]
    fn any_text_can_be_parsed(text in any::<String>()) {
        let _ = TokenBudget::parse(&text);
        let _ = TokenBudget::parse(&format!("<token_budget>{text}"));
    }
}
