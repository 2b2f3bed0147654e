//! The JSON: equal to what the store answers, and as its description says.

use boon::{Compiler, Draft, Schemas};
use selvedge_protocol::{ItemsView, SearchQuery, SortDirection, StatsKey, StatsQuery, ThreadQuery, TurnQuery};
use selvedge_thread_store::ThreadReader;
use serde_json::{Value, json};

use crate::support::{TestViewer, sample_names};

/// The description of the API, which checks answers.
struct Description {
    compiler: Compiler,
    schemas: Schemas,
}

impl Description {
    async fn of(viewer: &TestViewer) -> Self {
        let description = viewer.get("/api/v1/openapi.json").await.json();
        assert_eq!(description["openapi"], "3.1.0");
        let mut compiler = Compiler::new();
        compiler.set_default_draft(Draft::V2020_12);
        compiler.add_resource("http://viewer/openapi.json", description).unwrap();
        Self { compiler, schemas: Schemas::new() }
    }

    /// Fails unless an answer is as the description of its path says.
    fn check(&mut self, path: &str, status: &str, answer: &Value) {
        let path = path.replace('/', "~1").replace('{', "%7B").replace('}', "%7D");
        let schema =
            format!("http://viewer/openapi.json#/paths/{path}/get/responses/{status}/content/application~1json/schema");
        let schema = self.compiler.compile(&schema, &mut self.schemas).unwrap();
        if let Err(error) = self.schemas.validate(answer, schema) {
            panic!("{path}: {error:#}\n{answer:#}");
        }
    }
}

#[tokio::test]
async fn answers_are_those_of_the_store_and_as_they_are_described() {
    for sample in sample_names() {
        let viewer = TestViewer::of_sample(&sample).await;
        let mut description = Description::of(&viewer).await;
        let store = &viewer.store;

        let threads = viewer.get("/api/v1/threads?limit=7").await.json();
        let expected = store.list_threads(&ThreadQuery { limit: 7, ..ThreadQuery::default() }).await.unwrap();
        assert_eq!(threads, serde_json::to_value(expected).unwrap(), "{sample}");
        description.check("/api/v1/threads", "200", &threads);

        let search = viewer.get("/api/v1/search?q=the").await.json();
        let expected = store.search_threads(&SearchQuery::new("the")).await.unwrap();
        assert_eq!(search, serde_json::to_value(expected).unwrap(), "{sample}");
        description.check("/api/v1/search", "200", &search);

        for (by, key) in [("day", StatsKey::Day), ("project", StatsKey::Project), ("model", StatsKey::Model)] {
            let stats = viewer.get(&format!("/api/v1/stats?by={by}")).await.json();
            let expected = store.thread_stats(&StatsQuery { by: key, ..StatsQuery::default() }).await.unwrap();
            assert_eq!(stats, serde_json::to_value(expected).unwrap(), "{sample}");
            description.check("/api/v1/stats", "200", &stats);
        }

        for thread in viewer.threads().await.iter().take(5) {
            let path = format!("/api/v1/threads/{}", thread.id);
            let record = viewer.get(&path).await.json();
            assert_eq!(record, serde_json::to_value(thread).unwrap(), "{sample}");
            description.check("/api/v1/threads/{id}", "200", &record);

            let turns = viewer.get(&format!("{path}/turns?newest_first=true&limit=3")).await.json();
            let query = TurnQuery {
                direction: SortDirection::Descending,
                limit: 3,
                items_view: ItemsView::Full,
                ..TurnQuery::all(thread.id)
            };
            let expected = store.list_turns(&query).await.unwrap();
            assert_eq!(turns, serde_json::to_value(&expected).unwrap(), "{sample}");
            description.check("/api/v1/threads/{id}/turns", "200", &turns);
            if let Some(turn) = expected.items.first() {
                let one = viewer.get(&format!("{path}/turns/{}", turn.id.as_str())).await.json();
                assert_eq!(one["items"][0]["items"], serde_json::to_value(&turn.items).unwrap(), "{sample}");
                description.check("/api/v1/threads/{id}/turns/{turn}", "200", &one);
            }

            let context = viewer.get(&format!("{path}/context")).await.json();
            let expected = store.load_model_context(thread.id).await.unwrap();
            assert_eq!(context, serde_json::to_value(expected).unwrap(), "{sample}");
            description.check("/api/v1/threads/{id}/context", "200", &context);

            let mut cursor = String::new();
            let mut text = String::new();
            loop {
                let lines = viewer.get(&format!("{path}/lines?limit=50{cursor}")).await.json();
                description.check("/api/v1/threads/{id}/lines", "200", &lines);
                for line in lines["items"].as_array().unwrap() {
                    text.push_str(line["text"].as_str().unwrap());
                }
                match lines["next_cursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={}", next.replace('+', "%2B").replace('/', "%2F")),
                    None => break,
                }
            }
            let mut exported = Vec::new();
            store.export(thread.id, &mut exported).await.unwrap();
            assert_eq!(text, String::from_utf8_lossy(&exported), "{sample} {}", thread.id);
        }
    }
}

#[tokio::test]
async fn errors_are_as_they_are_described() {
    let viewer = TestViewer::empty().await;
    let mut description = Description::of(&viewer).await;
    let unknown = "01a222c1-13f7-7632-82f1-000000000000";
    for (path, described, status) in [
        (format!("/api/v1/threads/{unknown}"), "/api/v1/threads/{id}", "404"),
        (format!("/api/v1/threads/{unknown}/turns"), "/api/v1/threads/{id}/turns", "404"),
        ("/api/v1/threads?limit=x".to_owned(), "/api/v1/threads", "400"),
        ("/api/v1/search?q=".to_owned(), "/api/v1/search", "400"),
    ] {
        let answer = viewer.get(&path).await;
        assert_eq!(answer.status.to_string(), status, "{path}");
        description.check(described, status, &answer.json());
    }
}

#[tokio::test]
#[should_panic(expected = "missing properties")]
async fn an_answer_that_is_not_as_described_is_noticed() {
    let viewer = TestViewer::empty().await;
    let mut description = Description::of(&viewer).await;
    description.check("/api/v1/threads", "200", &json!({"items": [{"id": 1}], "next_cursor": null}));
}
