//! A thread that grows on the page, by server-sent events.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_core::Stream;
use selvedge_protocol::{ItemsView, SortDirection, ThreadId, TurnQuery};
use selvedge_thread_store::{LinePosition, LineQuery, LineStart, StoreError};
use selvedge_transcript::TranscriptParts;
use selvedge_transcript::html::turn;
use tokio::sync::{mpsc, watch};

use crate::app::ViewerApp;
use crate::error::PageError;
use crate::thread_params::thread_id;

/// How many of the newest turns are sent when the thread has changed: the last one, and one that has ended since the last look.
const NEWEST: usize = 2;

/// How long changes are collected before they are sent, so that a fast writer does not cost a page for each line.
const COLLECTED_FOR: Duration = Duration::from_millis(50);

pub(crate) async fn events(
    State(app): State<Arc<ViewerApp>>,
    Path(id): Path<String>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, PageError> {
    let id = thread_id(&id)?;
    let end = end_of(&app, id).await?;
    // One event at most waits for a slow reader.
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut stopped = app.stopped.clone();
        tokio::select! {
            () = send_changes(&app, id, end, &sender) => {}
            () = sender.closed() => {}
            () = until_stopped(&mut stopped) => {}
        }
    });
    Ok(Sse::new(EventStream(receiver)).keep_alive(KeepAlive::default()))
}

async fn until_stopped(stopped: &mut watch::Receiver<bool>) {
    // An error means that the viewer was dropped.
    _ = stopped.wait_for(|stopped| *stopped).await;
}

async fn end_of(app: &ViewerApp, id: ThreadId) -> Result<LinePosition, StoreError> {
    let query = LineQuery { max_lines: 1, ..LineQuery::from(id, LineStart::End) };
    Ok(app.store().read_lines(&query).await?.next)
}

/// Sends the newest turns whenever lines have been added. Ends with the thread.
async fn send_changes(app: &ViewerApp, id: ThreadId, mut end: LinePosition, events: &mpsc::Sender<Event>) {
    loop {
        if let Err(error) = app.store().wait_for_lines(id, &end).await {
            tracing::debug!(thread_id = %id, %error, "a live page ends");
            return;
        }
        let Ok(now) = end_of(app, id).await else { return };
        if now == end {
            continue;
        }
        end = now;
        let Ok(event) = newest(app, id).await else { return };
        if events.send(event).await.is_err() {
            return;
        }
        tokio::time::sleep(COLLECTED_FOR).await;
    }
}

async fn newest(app: &ViewerApp, id: ThreadId) -> Result<Event, StoreError> {
    let query = TurnQuery {
        thread_id: id,
        turn: None,
        direction: SortDirection::Descending,
        limit: NEWEST,
        cursor: None,
        items_view: ItemsView::Full,
    };
    let turns = app.store().list_turns(&query).await?.items;
    let html: String =
        turns.iter().rev().map(|each| turn(None, each, TranscriptParts::default()).into_string()).collect();
    Ok(Event::default().event("turns").data(html))
}

/// The events of a page as a stream.
struct EventStream(mpsc::Receiver<Event>);

impl Stream for EventStream {
    type Item = Result<Event, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        pin!(&mut self.0).poll_recv(context).map(|event| event.map(Ok))
    }
}
