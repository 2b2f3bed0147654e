//! What the recorder writes is what the reader reads.

use proptest::prelude::*;
use selvedge_protocol::log::Entry;
use selvedge_protocol::{
    Compacted, ContextWindow, EventMsg, HistoryMode, InterAgentCommunication, OpenItem, ResponseItem, RolloutItem,
    TurnContext, UserMessageEvent, WindowId, WorldState, WorldStateRecord,
};
use selvedge_rollout::RolloutRecorder;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::support::{TestHome, at, head, read_file, thread};

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,20}",
        any::<String>(),
        Just("\n\r\t\0\u{1f}\u{7f}\u{2028}\u{feff}\"\\/".to_owned()),
        Just(r#"{"timestamp":"2026-11-21T09:08:56.680Z","type":"event_msg","payload":{}}"#.to_owned()),
        (0_usize..20_000).prop_map(|len| "é".repeat(len)),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map("[a-zé\" ]{0,5}", inner, 0..5).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

fn raw(value: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap()
}

fn any_item() -> impl Strategy<Value = RolloutItem> {
    let time = || at("2026-11-21T09:08:56.660Z");
    prop_oneof![
        any_text().prop_map(|text| ResponseItem::user_text(&text).into()),
        (any_text(), any_text()).prop_map(|(id, text)| ResponseItem::function_call_output(&id, &text).into()),
        any_text().prop_map(|message| {
            EventMsg::from(UserMessageEvent { message: Some(message), ..UserMessageEvent::default() }).into()
        }),
        any_value().prop_map(|payload| RolloutItem::Other(OpenItem::new("from_the_future", raw(&payload)))),
        any_text().prop_map(|kind| RolloutItem::Other(OpenItem::new(format!("x{kind}"), raw(&json!({"type": "y"}))))),
        any_value().prop_map(|value| {
            let state = WorldState::new(json!({"section": value})).unwrap();
            WorldStateRecord::snapshot(&state).into()
        }),
        any_text().prop_map(move |summary| {
            let window = ContextWindow::first(Some(WindowId::new(time()))).next(time());
            Compacted::new(summary.clone(), vec![ResponseItem::assistant_text(&summary)], window).into()
        }),
        (any_text(), any_value()).prop_map(|(model, value)| {
            let mut context = TurnContext { model: Some(model), ..TurnContext::default() };
            context.extra.insert("from the future", raw(&value));
            context.into()
        }),
        any_text().prop_map(|content| {
            let message = InterAgentCommunication { content: Some(content), ..InterAgentCommunication::default() };
            RolloutItem::InterAgentCommunication(message)
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn written_items_are_read_unchanged(
        batches in prop::collection::vec(prop::collection::vec(any_item(), 0..6), 1..6),
        paginated: bool,
        resumed: bool,
    ) {
        let test = TestHome::new();
        let mode = if paginated { HistoryMode::Paginated } else { HistoryMode::Legacy };
        let head = head(thread(1), mode);
        let mut recorder = RolloutRecorder::create(&test.home, head.clone()).unwrap();
        recorder.persist().unwrap();
        for batch in &batches {
            if resumed {
                drop(recorder);
                recorder = RolloutRecorder::resume(&test.home, &test.files().segments(thread(1))[0]).unwrap();
            }
            let written = recorder.append(batch).unwrap();
            prop_assert_eq!(written.lines, batch.len() as u64);
        }
        let mut wanted = vec![RolloutItem::from(head)];
        wanted.extend(batches.into_iter().flatten());
        let entries = read_file(&recorder.path());
        prop_assert_eq!(entries.len(), wanted.len());
        for (index, (entry, item)) in entries.iter().zip(&wanted).enumerate() {
            let Entry::Line(record) = entry else { panic!("{entry:?}") };
            prop_assert_eq!(&record.line.item(), item);
            prop_assert_eq!(record.line.kind(), item.kind());
            prop_assert_eq!(record.line.ordinal(), paginated.then_some(index as u64));
            prop_assert!(record.line.extra().is_empty());
        }
    }
}

#[test]
fn json_with_newlines_is_written_as_one_line() {
    let pretty = "{\n  \"type\": \"message\",\r\n  \"text\": \"a\\nb\"\n}".to_owned();
    let item = ResponseItem::from_json(RawValue::from_string(pretty.clone()).unwrap()).unwrap();
    let test = TestHome::new();
    let recorder = RolloutRecorder::create(&test.home, head(thread(1), HistoryMode::Paginated)).unwrap();
    recorder.append(&[item.into(), ResponseItem::user_text("next").into()]).unwrap();
    let entries = read_file(&recorder.path());
    assert_eq!(entries.len(), 3);
    let Entry::Line(record) = &entries[1] else { panic!("{entries:?}") };
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(json(record.line.payload()), json(&pretty));
}
